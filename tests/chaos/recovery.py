"""How long runs stood still after a fault: for each run under way when it had done its harm, until the run's next move."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from tests.chaos.schedule import Fault

FROM_THE_BEGINNING = ("worker frozen",)
"""The hub must get over these while they last. What takes Redis or the database away is measured from when they are back."""


def harmed_at(fault: Fault) -> float:
    """Return from when on recovery counts, in seconds since 1970."""
    return fault.began if fault.kind in FROM_THE_BEGINNING else fault.ended


def by_fault(faults: Sequence[Fault]) -> list[tuple[Fault, list[float]]]:
    """Return each fault with the seconds until the next move of each run under way then, sorted."""
    from sagas.models import SagaExecution, SagaTransition

    moves: dict[str, list[float]] = defaultdict(list)
    for pk, at in SagaTransition.objects.order_by("at").values_list("execution", "at"):
        moves[str(pk)].append(at.timestamp())
    spans = [
        (str(pk), created.timestamp(), finished.timestamp())
        for pk, created, finished in SagaExecution.objects.exclude(finished_at=None).values_list("pk", "created_at", "finished_at")
    ]
    return [(fault, sorted(_stood_still(harmed_at(fault), moves, spans))) for fault in faults]


def _stood_still(since: float, moves: dict[str, list[float]], spans: Sequence[tuple[str, float, float]]) -> list[float]:
    found = []
    for pk, created, finished in spans:
        if created < since < finished:
            after = bisect_right(moves[pk], since)
            found.append((moves[pk][after] if after < len(moves[pk]) else finished) - since)
    return found


def is_over_it(faults: Sequence[Fault]) -> bool:
    """Tell whether every run that was under way at the last fault has moved since, or has ended."""
    from datetime import UTC, datetime

    from django.db import InterfaceError, OperationalError, connection

    from sagas.models import SagaExecution
    from sagas.states import ACTIVE

    if not faults:
        return True
    since = datetime.fromtimestamp(harmed_at(faults[-1]), UTC)
    still = SagaExecution.objects.filter(status__in=[status.value for status in ACTIVE], created_at__lt=since)
    try:
        return not still.exclude(transitions__at__gt=since).exists()
    except (OperationalError, InterfaceError):
        connection.close()
        return False
