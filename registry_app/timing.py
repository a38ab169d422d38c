"""When an instance is looked at again."""

from __future__ import annotations

import random
from datetime import timedelta

from registry_app.checks import HealthCheck

UNCHECKED_INTERVAL_SEC = 30.0
"""How often an instance without a check is judged by what its routed requests say."""


def interval_of(check: HealthCheck | None) -> float:
    """Return how many seconds lie between two looks at an instance."""
    return check.interval_sec if check else UNCHECKED_INTERVAL_SEC


def spread(interval_sec: float) -> timedelta:
    """Return an interval with up to a tenth off, so that instances that came together do not stay together."""
    return timedelta(seconds=interval_sec * random.uniform(0.9, 1.0))  # noqa: S311  (spreads load, guards nothing)
