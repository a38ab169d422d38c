"""Calls through a closed breaker, and how soon another process knows that one was forced open."""

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
from hub.circuits.policy import CircuitState
from hub.redis_client import client

SECONDS, FLIPS, SEEN = 0.5, 100, "bench:seen"

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


def flip(stage: Stage) -> Sample:
    """Force a breaker open and reset it in turn; the median until a caller elsewhere is answered by it (ms)."""
    return _flips(stage, 50)


def flip_slowest(stage: Stage) -> Sample:
    """The same, of a hundred the slowest but one."""
    return _flips(stage, 99)


def _flips(stage: Stage, percentile: int) -> Sample:
    stage.start("watcher", [sys.executable, "-c", _WATCHER])
    try:
        taken = _take_flips()
    finally:
        stage.end("watcher")
    return Sample(figure=quantiles(taken, n=100)[percentile - 1], units=len(taken))


def _take_flips() -> list[float]:
    client().delete(SEEN)
    taken = []
    for number in range(FLIPS + 2):
        opens, began = number % 2 == 0, time.time()
        if opens:
            services.force("bench_flip", CircuitState.FORCED_OPEN, by="bench", why="bench", for_sec=60)
        else:
            services.reset("bench_flip", by="bench")
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
    "flip seen elsewhere": flip,
    "flip seen elsewhere, slowest": flip_slowest,
}
