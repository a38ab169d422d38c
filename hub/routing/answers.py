"""What a status means: a good answer, or an error that says so (pure)."""

from __future__ import annotations

import math
import re
from datetime import datetime
from email.utils import parsedate_to_datetime

from hub.errors import ErrorCode, RequestFailed
from hub.routing.values import Answer

_SECONDS = re.compile(r"\d{1,9}")
_NOT_MODIFIED = 304


def check(answer: Answer, *, service_name: str, method: str, path: str, now: datetime) -> None:
    """Return when the answer is good (2xx, or 304 to a conditional request).

    Errors (RequestFailed, outcome ``answered``): E11381 redirect, E11350 busy (429, 503), E11344 other 5xx, E11345 other 4xx.
    """
    status = answer.status_code
    if 200 <= status < 300 or status == _NOT_MODIFIED:
        return
    code = _code(status)
    raise RequestFailed(
        code,
        f"{service_name} answered {status} to {method} {path}",
        details={
            "status_code": status,
            "body": _excerpt(answer.body),
            "retry_after_sec": retry_after_sec(answer.headers.get("retry-after"), now),
        },
        recovery_suggestion="register the address it redirects to" if code is ErrorCode.REDIRECT_REFUSED else None,
        outcome="answered",
        status_code=status,
    )


def retry_after_sec(value: str | None, now: datetime) -> float | None:
    """Read ``Retry-After`` (seconds or an HTTP date) as seconds from `now`; None when absent or malformed."""
    if not value:
        return None
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        wait = (parsedate_to_datetime(value) - now).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, wait) if math.isfinite(wait) else None


def _code(status: int) -> ErrorCode:
    if status in (429, 503):
        return ErrorCode.UPSTREAM_BUSY
    if status >= 500:
        return ErrorCode.UPSTREAM_SERVER_ERROR
    return ErrorCode.UPSTREAM_CLIENT_ERROR if status >= 400 else ErrorCode.REDIRECT_REFUSED


def _excerpt(body: object) -> object:
    """Keep a small answer whole and cut a large one: it tells the caller why, and travels in the error."""
    text = body if isinstance(body, str) else None
    if text is not None:
        return text[:2_000]
    return body if len(repr(body)) <= 4_000 else None
