"""Which dead letters have the same cause, and what it probably was (pure)."""

from __future__ import annotations

import hashlib
import re

from hub.error_codes import ErrorCode
from hub.events.retries import HOLDING

# What differs between two failures of one cause: ids, numbers, addresses, quoted values.
_VARIABLE = re.compile(r"'[^']*'|\"[^\"]*\"|\b0x[0-9a-f]+|\b[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b|\d+")
_SERVICE = re.compile(r"\b(L\d{2}_\w+)\b")
MAX_HINT = 255


def fingerprint(*, subscription: str, event_type: str, error: str) -> str:
    """Return 16 hex digits that are the same for failures of one cause at one subscriber."""
    first_line = error.strip().splitlines()[0] if error.strip() else ""
    shape = _VARIABLE.sub("#", first_line)
    text = "\n".join([subscription, event_type, shape])
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def hint(errors: list[str], codes: list[ErrorCode | None]) -> str:
    """Return a sentence on the probable cause, from all attempts' errors and codes; empty when there is none to see."""
    for error, code in zip(reversed(errors), reversed(codes), strict=True):
        if code is ErrorCode.TASK_UNKNOWN:
            return "no worker knew its handler: replay when the version that has it runs"
        if code in HOLDING and code is not None:
            return _breaker_hint(error, code)[:MAX_HINT]
        if code is ErrorCode.EVENT_HOP_LIMIT:
            return "its handlers answer each other's events: see the chain of causes of this event"
        if code is ErrorCode.UPSTREAM_BUSY:
            return "its service was too busy: replay the cause at a rate that it can take"
    if len(errors) > 1 and len(set(errors)) == 1:
        return "every attempt failed the same way: more attempts will not help, mend the cause or edit the event"
    return ""


def _breaker_hint(error: str, code: ErrorCode) -> str:
    service = _SERVICE.search(error)
    name = service[1] if service else "a service"
    if code in (ErrorCode.BREAKER_OPEN, ErrorCode.BREAKER_PROBES_TAKEN, ErrorCode.BREAKER_FORCED_OPEN):
        return f"failed while {name}'s breaker was open: replay when it is closed"
    return f"failed while {name} was away: replay when it is back"
