"""When an instance is looked at again."""

from __future__ import annotations

import random
from datetime import timedelta

from registry_app.checks import HealthCheck, HealthCheckType

UNCHECKED_INTERVAL_SEC = 30.0
"""How often an instance without a check is judged by what its routed requests say."""


SCAN_SEC = 1.5
"""How long an instance that is due may wait for its probe: one tick of beat, and its place in the pace of a process."""

ROLL_CALL_SEC = 3.0
"""How old an answer of Celery's workers may be when a probe uses it."""


def interval_of(check: HealthCheck | None) -> float:
    """Return how many seconds lie between two looks at an instance."""
    return check.interval_sec if check else UNCHECKED_INTERVAL_SEC


def spread(check: HealthCheck | None) -> timedelta:
    """Return when to look again: with up to a tenth off, so that instances that came together do not stay together.

    What a look may be late is taken off too, so that a fault is seen within interval and timeout; of a very short interval
    half is kept.
    """
    interval_sec, late_sec = interval_of(check), SCAN_SEC
    if check is not None and check.check_type is HealthCheckType.CELERY:
        late_sec += ROLL_CALL_SEC
    wait_sec = interval_sec * random.uniform(0.9, 1.0) - late_sec  # noqa: S311  (spreads load, guards nothing)
    return timedelta(seconds=max(interval_sec / 2, wait_sec))
