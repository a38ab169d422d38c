"""What a checkpoint, a sweep and a trace cost on however many rows DATABASE_URL holds; a process of its own per database.

python -m hub.bench.growth fill ROWS
python -m hub.bench.growth checkpoint      # or sweep, or trace: prints {"figure": milliseconds, "units": times}
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

from hub.setup import ensure_django

ensure_django()

from django.core.management import call_command  # noqa: E402

from hub.bench import load  # noqa: E402
from hub.bench.load import Counts  # noqa: E402
from hub.telemetry import store as spans  # noqa: E402
from sagas import catalog, events, recovery, store  # noqa: E402
from sagas.accept import Request, accept  # noqa: E402
from sagas.models import SagaExecution  # noqa: E402
from sagas.states import Direction  # noqa: E402

MOVES, READS, DEAD_LETTERS = 200, 1_000, 1_000


def fill(rows: int) -> None:
    """Make the tables, and that many sagas and spans."""
    call_command("migrate", verbosity=0, interactive=False)
    load.load(Counts(sagas=rows, spans=rows, dead_letters=min(rows, DEAD_LETTERS)))


def checkpoints() -> Iterator[Callable[[], object]]:
    """Claim the first step of fresh sagas; they are gone afterwards, or the next sweep would find them."""
    spec = catalog.find("bench_five", None)
    rows = [accept(spec, Request(context={}))[0] for _ in range(MOVES)]
    for row in rows:
        event = events.Claim(step=0, direction=Direction.DO, now=time.time(), limit_sec=30, grace_sec=5)
        yield partial(store.dispatch, row.pk, event)
    SagaExecution.objects.filter(pk__in=[row.pk for row in rows]).delete()


def sweeps() -> Iterator[Callable[[], object]]:
    """Sweep where nothing is due."""
    yield from [recovery.sweep] * READS


def traces() -> Iterator[Callable[[], object]]:
    """Read the ten spans of traces from all over the table."""
    known = list(SagaExecution.objects.order_by("-created_at").values_list("trace_id", flat=True))
    known = known[: max(1, len(known) // load.SPANS_OF_A_TRACE)]
    for number in range(READS):
        yield partial(spans.trace, known[number * 37 % len(known)])


WORKS = {"checkpoint": checkpoints, "sweep": sweeps, "trace": traces}


def measure(works: Iterator[Callable[[], object]]) -> dict[str, float]:
    """Do each and return the median in milliseconds."""
    taken = []
    for work in works:
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return {"figure": median(taken), "units": len(taken)}


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(int(sys.argv[2]))
    else:
        print(json.dumps(measure(WORKS[sys.argv[1]]())))  # noqa: T201
