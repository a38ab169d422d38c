"""What follows a failed delivery: another attempt, waiting without one, or the dead letters (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from hub.error_codes import ErrorCode

HOLDING = frozenset(
    {
        ErrorCode.BREAKER_OPEN,
        ErrorCode.BREAKER_PROBES_TAKEN,
        ErrorCode.BREAKER_FORCED_OPEN,
        ErrorCode.SERVICE_NOT_FOUND,  # a layer takes itself out at a clean stop
        ErrorCode.NO_HEALTHY_INSTANCE,
        ErrorCode.SERVICE_DISABLED,
        ErrorCode.ROUTE_RATE_LIMITED,
        ErrorCode.QUEUE_FULL,
        ErrorCode.TASK_UNKNOWN,
    }
)
"""The subscriber is known to be away and nothing was sent: waiting costs no attempt."""
MAX_HISTORY = 20
MAX_HOLD_SEC = 30.0
"""So long at most all wait before one sees whether their subscriber is back: to ask costs nothing, unlike an attempt."""
_CODE = re.compile(r"(?:[\w.]+: )?(E11\d{3}):")
_CODES = {str(code): code for code in ErrorCode}


class Next(Enum):
    """What follows."""

    RETRY = "retry"
    HOLD = "hold"
    DEAD = "dead"


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How often and how fast a subscription tries again; all durations in seconds."""

    max_attempts: int
    delay_sec: float
    backoff: float
    max_delay_sec: float
    max_age_sec: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What follows, and after how many seconds."""

    next: Next
    delay_sec: float = 0.0


def after_failure(policy: RetryPolicy, *, attempts: int, age_sec: float, code: ErrorCode | None, jitter: float) -> Decision:
    """Decide what follows the failure of attempt number `attempts` of a delivery that is `age_sec` old.

    A known absence is waited out; an answer that no repetition changes (a refusal, a passed hop limit) is final at
    once; everything else is tried again until the attempts or the age are used up. `jitter` is in [0, 1).
    """
    if age_sec >= policy.max_age_sec:
        return Decision(next=Next.DEAD)
    if code in HOLDING:
        return Decision(next=Next.HOLD, delay_sec=min(MAX_HOLD_SEC, delay_sec(policy, attempt=attempts, jitter=jitter)))
    if attempts >= policy.max_attempts or (code is not None and code.retry == "never"):
        return Decision(next=Next.DEAD)
    return Decision(next=Next.RETRY, delay_sec=delay_sec(policy, attempt=attempts, jitter=jitter))


def delay_sec(policy: RetryPolicy, *, attempt: int, jitter: float) -> float:
    """Return the wait after attempt number `attempt` (from 1): exponential, capped, the upper half of it by chance.

    Without the chance, everything that failed in one moment would come back in one moment.
    """
    # The exponent is capped before the power is taken: 2.0 ** 5000 is no float.
    longest = min(policy.max_delay_sec, policy.delay_sec * policy.backoff ** min(max(attempt - 1, 0), 64))
    return longest * (0.5 + jitter / 2)


def code_in(error: str) -> ErrorCode | None:
    """Return the hub's code that an error begins with (``E11220: ...``, or behind the exception's name), or None."""
    found = _CODE.match(error)
    return _CODES.get(found[1]) if found else None


def code_named(text: str) -> ErrorCode | None:
    """Return the code of that number, or None."""
    return _CODES.get(text)
