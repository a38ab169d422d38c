"""What the overview says is wrong, as numbers for an alarm: the same rules, so nobody is woken for what the screen does not show."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import Error as AnyDatabaseError
from prometheus_client import Metric as Family

from hub.console.overview import troubles

NAME = "hub_troubles"


def families() -> Iterator[Family]:
    """Yield how many of each kind of trouble there are now (each stops at a thousand); `database` is one that does not answer."""
    found = Family(NAME, "what is wrong now, as the console's overview says it", "gauge")
    for kind, count in _counts().items():
        found.add_sample(NAME, {"kind": kind}, count)
    yield found


def _counts() -> dict[str, int]:
    try:
        return {"database": 0, **{trouble.kind: trouble.count for trouble in troubles.look(lambda permission: True)}}
    except AnyDatabaseError:
        return {"database": 1}
