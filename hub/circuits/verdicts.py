"""What a failed call says about the health of a service (pure).

Counted against it: no connection, no answer in time, a broken connection, 5xx, 408, 425 and 429. Not counted: any other
4xx and an explicit refusal: the service is well and says no. Not even noticed: a call that never went out to it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from hub.errors import CircuitOpen, ErrorCode, IntegrationError, Refused, RequestFailed

COUNTED_4XX = frozenset({408, 425, 429})
SOFT_STATUSES = frozenset({429, 503})
"""With ``Retry-After`` these ask for a pause, and get exactly that."""

_NOT_ITS_FAULT = frozenset(
    {
        ErrorCode.ADDRESS_REFUSED_AT_CONNECT,
        ErrorCode.TIMED_OUT_BEFORE_SEND,
        ErrorCode.DEADLINE_PASSED,
        ErrorCode.REQUEST_CANCELLED,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """`ok` is None when the call says nothing; `retry_after_sec` is the pause that the service asked for."""

    ok: bool | None
    error: str = ""
    retry_after_sec: float | None = None


GOOD = Judgement(ok=True)


def judge(exc: BaseException) -> Judgement:
    """Judge what a call raised."""
    if not isinstance(exc, Exception) or isinstance(exc, asyncio.CancelledError | CircuitOpen):
        return Judgement(ok=None)
    if isinstance(exc, Refused):
        return GOOD
    if isinstance(exc, IntegrationError):
        return judge_code(exc.code, exc.status_code if isinstance(exc, RequestFailed) else None)
    status = _status_of(exc)
    return _judge_status(status, error=type(exc).__name__) if status else Judgement(ok=False, error=type(exc).__name__)


def judge_code(code: ErrorCode, status_code: int | None) -> Judgement:
    """Judge a call by the code that it failed with, and by the status that the service answered, if it did."""
    if code in _NOT_ITS_FAULT or code.http == 422:
        return Judgement(ok=None)
    return _judge_status(status_code, error=str(code)) if status_code else Judgement(ok=False, error=str(code))


def _judge_status(status: int, *, error: str) -> Judgement:
    is_well = status < 400 or (status < 500 and status not in COUNTED_4XX)
    return GOOD if is_well else Judgement(ok=False, error=error)


def _status_of(exc: Exception) -> int | None:
    """Return the HTTP status that an error of `requests`, `httpx` or the like carries."""
    found: Any = getattr(getattr(exc, "response", None), "status_code", None) or getattr(exc, "status_code", None)
    return found if isinstance(found, int) else None
