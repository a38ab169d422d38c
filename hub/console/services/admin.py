"""Service instances in the admin: the sick first, and one page for each."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin
from unfold.decorators import display

from hub.console.reading import PageOfItsOwn
from hub.console.services import drawing, views
from registry_app import overview
from registry_app.models import Service

COLOURS = {"healthy": "success", "degraded": "warning", "unhealthy": "danger", "unknown": "info", "deregistered": ""}


class RegisteredFilter(admin.SimpleListFilter):
    """Who is there; those who left only on request."""

    title = "registered"
    parameter_name = "registered"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer those who left; the default is who is there."""
        return [("no", "left"), ("all", "all")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Service]) -> QuerySet[Service]:
        """Filter by the partial indexes on ``deregistered_at``."""
        if self.value() == "all":
            return queryset
        return queryset.filter(deregistered_at__isnull=self.value() != "no")


class ServiceAdmin(PageOfItsOwn, ModelAdmin):
    """Instances, the sick first."""

    list_display = (
        "service_name",
        "service_version",
        "endpoint",
        "coloured_status",
        "reason",
        "last_checks",
        "latency",
        "flapping",
        "last_probe_at",
    )
    list_filter = (RegisteredFilter, "status", "check_type")
    search_fields = ("service_id__exact", "service_name__exact")
    search_help_text = "service name or id, in full"
    show_full_result_count = False
    list_per_page = 50

    def show(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the instance's own page."""
        row = Service.objects.filter(pk=object_id).only("service_id").first() if object_id.isdecimal() and len(object_id) < 19 else None
        if row is None:
            raise Http404(object_id)
        return views.show(request, row.service_id)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Service]:
        """Put the sick first."""
        rows: QuerySet[Service] = super().get_queryset(request)
        return rows.order_by(overview.by_severity, "service_name", "endpoint")

    def get_ordering(self, request: HttpRequest) -> list[str]:
        """The order is that of `get_queryset` unless a column is clicked."""
        return []

    @display(description="status", label=COLOURS)
    def coloured_status(self, row: Service) -> tuple[str, str]:
        """Return the status for its colour, and what to show."""
        return ("deregistered" if row.deregistered_at else row.status), overview.standing(row)

    @display(description="last checks")
    def last_checks(self, row: Service) -> str:
        """Draw the last verdicts as bars, newest at the right."""
        bars = ((bar.kind, bar.kind) for bar in drawing.tracker(row.tracker))
        drawn = format_html_join("", '<i class="hub-mini hub-probe-{}" title="{}"></i>', bars)
        return format_html('<span class="hub-minis">{}</span>', drawn) if row.tracker else "none yet"

    @display(description="ms")
    def latency(self, row: Service) -> str:
        """Return how long the last check took."""
        return f"{row.recent_ms[-1]:,.0f}" if row.recent_ms else ""

    @display(description="flaps")
    def flapping(self, row: Service) -> str:
        """Return the flap penalty, where there is one."""
        penalty = overview.flap_penalty(row)
        return f"{penalty:.1f}" if penalty >= 0.05 else ""
