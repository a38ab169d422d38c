"""When a failed attempt may be repeated, and after how long (pure).

Only what is safe is repeated: nothing was sent, or sending twice does no more than once (an idempotent method, or an
idempotency key that the service gets as a header).
"""

from __future__ import annotations

from dataclasses import dataclass

from hub.errors import ErrorCode, RequestFailed

REPEATABLE_STATUSES = frozenset({408, 425, 429, 502, 503, 504})
"""A plain 500 is a bug of the service for this request, as a rule, and comes again."""
_NOT_SENT_YET = frozenset({ErrorCode.CONNECT_FAILED, ErrorCode.NAME_RESOLUTION_FAILED})


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How often and how fast; times in seconds."""

    max_attempts: int = 3
    first_delay_sec: float = 0.1
    max_delay_sec: float = 2.0


def may_repeat(error: RequestFailed, *, is_repeatable: bool) -> bool:
    """Tell whether the attempt that failed with `error` may be made again."""
    if error.outcome == "nothing_sent":
        return error.code in _NOT_SENT_YET
    if not is_repeatable:
        return False
    if error.outcome == "answered":
        return error.status_code in REPEATABLE_STATUSES
    return error.code is ErrorCode.CONNECTION_BROKE_AFTER_SEND


def advice(*, has_key: bool, is_repeatable: bool) -> str:
    """Say what to do about a request of which nobody knows whether it acted."""
    if has_key:
        return "it may have acted: send it again under the same idempotency key, under which it acts once"
    if is_repeatable:
        return "send it again: its method may be repeated"
    return "it may have acted: ask the service before you send it again; with an idempotency key it could be repeated"


def delay_sec(policy: RetryPolicy, *, attempt: int, random: float, retry_after_sec: float | None = None) -> float:
    """Return the wait after `attempt` failed attempts: full jitter (`random` in 0..1) below a doubling limit.

    What the service asked for in ``Retry-After`` is kept to, however long; the deadline decides whether that is too long.
    """
    if retry_after_sec is not None:
        return retry_after_sec + random * policy.first_delay_sec
    return random * min(policy.max_delay_sec, policy.first_delay_sec * 2.0 ** (attempt - 1))
