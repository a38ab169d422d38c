"""What a supervised process is, and when a dead one may start again (no process, no clock)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FIRST_DELAY_SEC = 0.5
LONGEST_DELAY_SEC = 30.0
STEADY_SEC = 60.0
"""A process that lived this long died for a new reason: its count of deaths begins again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessSpec:
    """One process of a running hub.

    Stages are started from low to high and stopped from high to low: what others need has a low one.
    `ready_url` answers 200, or is a Redis that answers, when the process can do its work; without one, being alive is enough.
    """

    name: str
    command: tuple[str, ...]
    stage: int
    env: Mapping[str, str] = field(default_factory=dict)
    ready_url: str | None = None
    stop_timeout_sec: float = 15.0


def deaths_after(deaths: int, *, lived_sec: float) -> int:
    """Count one more death, or the first when the process had lived long before it."""
    return 1 if lived_sec >= STEADY_SEC else deaths + 1


def restart_delay_sec(deaths: int, *, jitter: float) -> float:
    """Return how long to wait before the next start: doubled per death, capped, spread over half of it by jitter in [0, 1)."""
    longest = min(LONGEST_DELAY_SEC, FIRST_DELAY_SEC * 2.0 ** min(deaths - 1, 20))
    return longest * (0.5 + jitter / 2)
