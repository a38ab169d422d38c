"""How long runs are kept, and the versions that they were started with."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings

from hub import pruning
from sagas import clock
from sagas.models import SagaExecution, SagaVersion
from sagas.states import FINAL, SagaStatus

_FINAL = [status.value for status in FINAL]


def expired() -> pruning.Expired:
    """Return runs that ended longer ago than the retention, and versions that no run names.

    Those before an operator stay, and those whose parent is there: it may still have them undone.
    """
    oldest = clock.moment(clock.now()) - timedelta(days=settings.HUB.saga_retention_days)
    ended = SagaExecution.objects.filter(finished_at__lt=oldest, status__in=_FINAL, parent=None)
    ended = ended.exclude(status=SagaStatus.NEEDS_OPERATOR.value)
    return {"sagas": ended.order_by("finished_at"), "saga_versions": SagaVersion.objects.filter(executions__isnull=True).order_by("pk")}


def prune() -> int:
    """Delete what is expired; return how many runs."""
    return pruning.delete_all(expired())["sagas"]
