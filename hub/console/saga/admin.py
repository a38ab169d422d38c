"""Sagas in the admin: the list with its presets, and one page for each saga."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display

from hub.console.bulk.admin import ActsOnMany
from hub.console.reading import PageOfItsOwn
from hub.console.saga import views
from hub.console.saga.presets import PRESETS
from hub.history_admin import LargeTable
from hub.partial import MOST_FOUND
from sagas import beginnings
from sagas.models import SagaExecution, SagaVersion

COLOURS = {
    "completed": "success",
    "compensated": "warning",
    "needs_operator": "danger",
    "failed": "danger",
    "compensating": "warning",
    "running": "info",
    "waiting": "info",
}


class PresetFilter(admin.SimpleListFilter):
    """What people ask for most."""

    title = "show"
    parameter_name = "show"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the presets."""
        return [(preset.name, preset.label) for preset in PRESETS.values()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[SagaExecution]) -> QuerySet[SagaExecution]:
        """Keep what the preset asks for."""
        preset = PRESETS.get(self.value() or "")
        return queryset.filter(preset.condition(timezone.now())) if preset else queryset


class NameFilter(admin.SimpleListFilter):
    """The sagas that ran, asked of the few definitions and not of the many runs."""

    title = "saga"
    parameter_name = "saga"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer every saga that ever ran."""
        names = SagaVersion.objects.order_by("saga_name").values_list("saga_name", flat=True).distinct()[:200]
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[SagaExecution]) -> QuerySet[SagaExecution]:
        """Keep the runs of one saga."""
        return queryset.filter(saga_name=self.value()) if self.value() else queryset


class SagaExecutionAdmin(ActsOnMany, LargeTable, PageOfItsOwn, ModelAdmin):
    """Runs, the newest first."""

    bulk_subject = "saga"
    list_display = ("short_id", "saga_name", "coloured_status", "cause", "error_code", "correlation_id", "created_at", "finished_at")
    list_filter = (PresetFilter, "status", NameFilter)
    list_before_template = "console/saga_presets.html"
    search_fields = ("correlation_id",)  # shows the field; `get_search_results` says what is searched
    search_help_text = "correlation id, trace id or idempotency key, in full; execution id, or its first four characters or more"
    ordering = ("-created_at",)

    def show(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the saga's own page."""
        return views.show(request, object_id)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        """Find by what a caller knows, exactly and by index; the admin's own search would walk through the table."""
        text = search_term.strip()
        return (queryset.filter(pk__in=_known_as(text)) if text else queryset), False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Show the presets above the list."""
        chosen = request.GET.get("show", "")
        return super().changelist_view(request, {**(extra_context or {}), "presets": PRESETS.values(), "chosen_preset": chosen})

    @display(description="id")
    def short_id(self, run: SagaExecution) -> str:
        """Return the first eight characters, which a person can compare."""
        return str(run.pk)[:8]

    @display(description="status", label=COLOURS)
    def coloured_status(self, run: SagaExecution) -> tuple[str, str]:
        """Return the status for its colour, and in words."""
        return run.status, run.get_status_display()

    @display(description="error")
    def error_code(self, run: SagaExecution) -> str:
        """Return the code of the first error."""
        return (run.error or {}).get("code", "")


def _known_as(text: str) -> set[UUID]:
    names = list(SagaVersion.objects.values_list("saga_name", flat=True).distinct()[:200])
    known = [Q(correlation_id=text), Q(trace_id=text), Q(saga_name__in=names, idempotency_key=text)]
    with suppress(ValueError):
        known.append(Q(pk=UUID(text)))  # a trace id may be read as a UUID too
    rows = SagaExecution.objects.order_by().values_list("pk", flat=True)
    found = {pk for condition in known for pk in rows.filter(condition)[:MOST_FOUND]}
    return found | set(beginnings.beginning_with(text, most=MOST_FOUND))
