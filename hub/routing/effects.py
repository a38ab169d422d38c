"""The requests of traces, for the page of what an event led to."""

from __future__ import annotations

from collections.abc import Sequence

from django.urls import reverse

from hub.events.causation import Effect
from hub.routing.models import RoutedRequest


def of_traces(trace_ids: Sequence[str], limit: int) -> list[Effect]:
    """Return the oldest requests of some traces."""
    rows = RoutedRequest.objects.filter(trace_id__in=trace_ids).order_by("id")[:limit]
    return [_effect(row) for row in rows]


def _effect(row: RoutedRequest) -> Effect:
    url = reverse("admin:routing_routedrequest_change", args=[row.pk])
    return Effect(title=f"{row}: {row.get_outcome_display()}", url=url, trace_id=row.trace_id)
