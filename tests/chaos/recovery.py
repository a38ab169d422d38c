"""How long runs stood still after a fault: for each run under way when it ended, until the run's next move."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from sagas.models import SagaExecution, SagaTransition
from tests.chaos.schedule import Fault


def stand_stills(faults: Sequence[Fault]) -> list[float]:
    """Return the seconds from the end of each fault to the next move of each run under way then, sorted."""
    moves: dict[str, list[float]] = defaultdict(list)
    for pk, at in SagaTransition.objects.order_by("at").values_list("execution", "at"):
        moves[str(pk)].append(at.timestamp())
    spans = [
        (str(pk), created.timestamp(), finished.timestamp())
        for pk, created, finished in SagaExecution.objects.exclude(finished_at=None).values_list("pk", "created_at", "finished_at")
    ]
    found = []
    for fault in faults:
        for pk, created, finished in spans:
            if created < fault.ended < finished:
                after = bisect_left(moves[pk], fault.ended)
                found.append(moves[pk][after] - fault.ended if after < len(moves[pk]) else finished - fault.ended)
    return sorted(found)
