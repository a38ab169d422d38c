"""When a broadcast has heard enough (pure)."""

from __future__ import annotations

import re

from hub.errors import ErrorCode, IntegrationError

_FIRST = re.compile(r"first:([1-9]\d{0,3})")


def needed(policy: object, targets: int) -> int:
    """Return how many good answers end a broadcast to so many services; E11902 for an unknown policy.

    ``all`` waits for every service, ``any`` for one good answer, ``first:3`` for three, ``majority`` for more than half.
    """
    fixed = {"all": targets, "any": 1, "majority": targets // 2 + 1}
    if isinstance(policy, str) and policy in fixed:
        return fixed[policy]
    first = _FIRST.fullmatch(policy) if isinstance(policy, str) else None
    if first and int(first[1]) <= targets:
        return int(first[1])
    raise IntegrationError(
        ErrorCode.ARGUMENT_TYPE,
        f"no such policy for {targets} services: {policy!r:.40}",
        recovery_suggestion="use all, any, majority or first:n",
    )
