"""The sagas of traces, for the page of what an event led to and for what is kept."""

from __future__ import annotations

from collections.abc import Sequence

from django.urls import reverse

from hub.events.causation import Effect
from sagas.models import SagaExecution


def of_traces(trace_ids: Sequence[str], limit: int) -> list[Effect]:
    """Return the oldest sagas of some traces."""
    rows = SagaExecution.objects.filter(trace_id__in=trace_ids).only("id", "saga_name", "status", "trace_id").order_by("created_at")
    return [_effect(row) for row in rows[:limit]]


def unfinished(trace_ids: Sequence[str]) -> set[str]:
    """Return those traces that have a saga which has not ended."""
    return set(SagaExecution.objects.filter(trace_id__in=trace_ids, finished_at=None).values_list("trace_id", flat=True))


def _effect(row: SagaExecution) -> Effect:
    url = reverse("admin:sagas_sagaexecution_change", args=[row.pk])
    return Effect(title=f"{row.saga_name}: {row.get_status_display()}", url=url, trace_id=row.trace_id)
