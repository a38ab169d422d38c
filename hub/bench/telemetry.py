"""A routed request, or a step of a saga, without a queue in between: ``python -m hub.bench.telemetry request|step``.

Whether it is traced and counted is said by HUB_TELEMETRY_ENABLED, once per process; so each side is a process.
"""

from __future__ import annotations

import json
import sys
import time
from statistics import median

from hub.setup import ensure_django

ensure_django()

from hub.bench.samples import STEPS  # noqa: E402
from hub.routing import services as routing  # noqa: E402
from sagas import engine, store  # noqa: E402
from sagas.accept import Request, accept  # noqa: E402
from sagas.catalog import find  # noqa: E402
from sagas.states import Direction  # noqa: E402

SERVICE, TIMES, WARM_UP = "bench", 300, 50


def request() -> None:
    """Send a request to the service `bench`."""
    routing.route(SERVICE, "GET", "/")


def saga() -> None:
    """Accept a saga and run its steps here."""
    row, _ = accept(find("bench_five"), Request())
    for index in range(STEPS):
        engine.perform(str(row.pk), index, Direction.DO)
    if store.load(row.pk).run.status != "completed":
        raise RuntimeError("the saga did not complete: not the work was measured")


# How often each is done, and how many units one of them is.
WORKS = {"request": (request, TIMES, 1), "step": (saga, TIMES // STEPS, STEPS)}


def measure(what: str) -> dict[str, float]:
    """Return the median in milliseconds per unit."""
    work, times, units = WORKS[what]
    for _ in range(WARM_UP // units):
        work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000 / units)
    return {"figure": median(taken), "units": times * units}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))  # noqa: T201
