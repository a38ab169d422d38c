"""Calls through a closed breaker, and how soon another process knows that one was opened."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from statistics import quantiles

from django.conf import settings

from hub.bench import measure
from hub.bench.figures import Sample
from hub.bench.stage import Stage
from hub.circuits import breaker, services
from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.policy import CircuitState
from hub.redis_client import client

SECONDS, FLIPS, SEEN, FLIPPED = 0.5, 100, "bench:seen", "bench_flip"

# The other process: it asks as a caller does, and notes by Redis' clock when its answer changed.
_WATCHER = """
import time
from hub.setup import ensure_django; ensure_django()
from hub.circuits import breaker
from hub.errors import CircuitOpen
from hub.redis_client import client
was = None
while True:
    try:
        breaker.admit("bench_flip"); now = "closed"
    except CircuitOpen:
        now = "open"
    if now != was:
        client().rpush("bench:seen", f"{now} {time.time()}")
        was = now
    time.sleep(0.0001)
"""


def nothing() -> None:
    """Do nothing."""


def closed(stage: Stage) -> Sample:
    """A function that does nothing, through a closed breaker."""
    breaker.execute("bench_closed", nothing)
    return measure.calls(stage, lambda: breaker.execute("bench_closed", nothing), seconds=SECONDS)


def opened(stage: Stage) -> Sample:
    """Have a breaker opened by a failure; the median until a caller elsewhere is refused (ms)."""
    return _watched(stage, _take_openings, 50)


def opened_slowest(stage: Stage) -> Sample:
    """The same, of a hundred the slowest but one."""
    return _watched(stage, _take_openings, 99)


def forced(stage: Stage) -> Sample:
    """Force a breaker open and reset it in turn, each written down first; the median until a caller elsewhere is answered by it (ms)."""
    return _watched(stage, _take_flips, 50)


def _watched(stage: Stage, take: Callable[[], list[float]], percentile: int) -> Sample:
    client().delete(SEEN)
    stage.start("watcher", [sys.executable, "-c", _WATCHER])
    try:
        taken = take()
    finally:
        stage.end("watcher")
    return Sample(figure=quantiles(taken, n=100)[percentile - 1], units=len(taken))


def _take_openings() -> list[float]:
    services.reset(FLIPPED, by="bench")
    taken = []
    for _ in range(FLIPS + 2):
        _seen("closed")
        began = _open_by_a_failure()
        taken.append((_seen("open") - began) * 1000)
        services.reset(FLIPPED, by="bench")
    return taken[2:]


def _open_by_a_failure() -> float:
    """Report the one failure that the policy allows, and return when."""
    permit, began = breaker.admit(FLIPPED, CircuitBreakerConfig(failure_threshold=1)), time.time()
    if not breaker.report(permit, ok=False, error="bench"):
        raise RuntimeError("the breaker did not open: not an opening was measured")
    return began


def _take_flips() -> list[float]:
    taken = []
    for number in range(FLIPS + 2):
        opens, began = number % 2 == 0, time.time()
        if opens:
            services.force(FLIPPED, CircuitState.FORCED_OPEN, by="bench", why="bench", for_sec=60)
        else:
            services.reset(FLIPPED, by="bench")
        taken.append((_seen("open" if opens else "closed") - began) * 1000)
    return taken[2:]


def _seen(state: str) -> float:
    while True:
        found = client().blpop([SEEN], timeout=20)
        if not found:
            raise TimeoutError(f"nobody saw the breaker {state} within 20 s")
        word, at = found[1].split()  # type: ignore[index]
        if word == state:
            return float(at)


ARMS: Mapping[str, Callable[[Stage], Sample]] = {
    "breaker closed": closed,
    "pybreaker in memory": lambda stage: stage.rivals.run("pybreaker_memory", str(SECONDS)),
    "pybreaker on Redis": lambda stage: stage.rivals.run("pybreaker_redis", str(SECONDS), settings.REDIS_URL),
    "opening seen elsewhere": opened,
    "opening seen elsewhere, slowest": opened_slowest,
    "forced state seen elsewhere": forced,
}
