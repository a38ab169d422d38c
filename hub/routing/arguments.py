"""Arguments of a task message: a plain Celery client may send anything under any name (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hub.errors import ErrorCode, IntegrationError

DEADLINE_HEADER = "x-request-deadline"
_SECONDS = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")


def bind(args: Sequence[Any], kwargs: Mapping[str, Any], *, names: Sequence[str], required: Sequence[str]) -> dict[str, Any]:
    """Return arguments by name; E11901 for a missing one, E11903 for an unknown one or too many."""
    if len(args) > len(names):
        raise IntegrationError(ErrorCode.ARGUMENT_UNKNOWN, f"{len(args)} positional arguments, at most {len(names)} are known")
    found = dict(zip(names, args, strict=False)) | dict(kwargs)
    unknown = sorted(set(found) - set(names))
    if unknown:
        raise IntegrationError(
            ErrorCode.ARGUMENT_UNKNOWN, f"unknown arguments: {', '.join(unknown):.120}", recovery_suggestion=f"known are {', '.join(names)}"
        )
    missing = [name for name in required if found.get(name) is None]
    if missing:
        raise IntegrationError(ErrorCode.ARGUMENT_MISSING, f"missing: {', '.join(missing)}")
    return found


def read_deadline(value: object) -> datetime | None:
    """Read a deadline: ISO 8601 with a zone, or seconds since 1970; E11909 when it is neither.

    In a message the deadline is a point in time, because the message may wait; over HTTP ``X-Request-Deadline`` is what
    remains in seconds, because two machines need not share a clock.
    """
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e11:
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, str) and _ISO.match(value):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None:
            return moment
    raise IntegrationError(
        ErrorCode.TIME_MALFORMED, f"deadline {value!r:.60} is not a time", recovery_suggestion="send 2026-01-31T12:00:00Z"
    )


def read_seconds_left(text: str | None) -> float | None:
    """Read what ``X-Request-Deadline`` says over HTTP, seconds that remain; E11909 when it is no number of them."""
    if text is None:
        return None
    if _SECONDS.fullmatch(text):
        return float(text)
    raise IntegrationError(
        ErrorCode.TIME_MALFORMED, f"X-Request-Deadline {text!r:.60} is no number of seconds", recovery_suggestion="send what remains: 7.5"
    )
