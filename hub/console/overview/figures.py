"""Counts and rates from the tables, each read over an index and bounded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone

from hub.console.overview import pulse
from hub.console.overview.troubles import MANY, May, bounded_count
from hub.console.saga.presets import PRESETS
from hub.routing.models import RoutedRequest
from registry_app.models import Service
from sagas.models import SagaExecution
from sagas.states import SagaStatus

MOST_CALLS = 2_000
HOUR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A number with its name and the page behind it."""

    name: str
    value: str
    url: str


def figures(may: May) -> list[Figure]:
    """Return the numbers this person may see."""
    found = _of_sagas() if may("sagas.view_sagaexecution") else []
    return found + (_of_services() if may("registry.view_service") else [])


def _of_sagas() -> list[Figure]:
    page, now = reverse("admin:sagas_sagaexecution_changelist"), timezone.now()
    shown = [
        Figure(
            name=f"Sagas {PRESETS[name].label.lower()}",
            value=_bounded(bounded_count(SagaExecution.objects.filter(PRESETS[name].condition(now)))),
            url=f"{page}?{urlencode({'show': name})}",
        )
        for name in ("running", "waiting")
    ]
    ended = SagaExecution.objects.filter(finished_at__gte=now - HOUR).values_list("status", flat=True)[:MANY]
    completed = sum(status == SagaStatus.COMPLETED for status in ended)
    others = len(ended) - completed
    return [
        *shown,
        Figure(name="Completed in the last hour", value=_bounded(completed), url=page),
        Figure(name="Turned back in the last hour", value=_bounded(others), url=page),
    ]


def _of_services() -> list[Figure]:
    rows = Service.objects.filter(deregistered_at=None).values_list("status", flat=True)[:MANY]
    healthy = sum(status == "healthy" for status in rows)
    return [Figure(name="Healthy service instances", value=f"{healthy} of {len(rows)}", url=reverse("admin:registry_service_changelist"))]


def _bounded(count: int) -> str:
    return f"{count:,}+" if count >= MANY else f"{count:,}"


def traffic() -> pulse.Pulse:
    """Return the pulse of the routed requests."""
    now = timezone.now()
    rows = RoutedRequest.objects.filter(created_at__gte=now - timedelta(minutes=pulse.MINUTES)).order_by("-created_at")
    read = list(rows.values_list("created_at", "outcome", "duration_ms")[:MOST_CALLS])
    calls = [pulse.Call(ago_sec=(now - at).total_seconds(), is_ok=outcome == "ok", duration_ms=took) for at, outcome, took in read]
    return pulse.of(calls, is_cut=len(read) == MOST_CALLS)
