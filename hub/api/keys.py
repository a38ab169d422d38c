"""The idempotency key of a call: in the header or in the body, and the same where it is in both."""

from __future__ import annotations

from hub.errors import ErrorCode, IntegrationError


def key_of(header: str | None, member: str | None) -> str | None:
    """Return the key; E11306 when header and body name different ones."""
    given = {key for key in (header, member) if key is not None}  # an empty one too: the room behind refuses it
    if len(given) > 1:
        raise IntegrationError(ErrorCode.IDEMPOTENCY_KEY_INVALID, "Idempotency-Key and idempotency_key differ")
    return given.pop() if given else None
