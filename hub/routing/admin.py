"""Requests in the admin: read-only history."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from hub.history_admin import HistoryAdmin
from hub.routing.models import RoutedRequest
from registry_app.models import Service


class ServiceFilter(admin.SimpleListFilter):
    """The services that are registered, asked of the few instances and not of the many requests."""

    title = "service"
    parameter_name = "service"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer every registered name."""
        names = Service.objects.filter(deregistered_at=None).order_by("service_name").values_list("service_name", flat=True)
        return [(name, name) for name in names.distinct()[:200]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RoutedRequest]) -> QuerySet[RoutedRequest]:
        """Keep the requests to one service."""
        return queryset.filter(service_name=self.value()) if self.value() else queryset


@admin.register(RoutedRequest)
class RoutedRequestAdmin(HistoryAdmin):
    """What was asked of services, and how it ended."""

    list_display = ("created_at", "service_name", "method", "path", "outcome", "status_code", "code", "attempts", "duration_ms", "trace_id")
    list_filter = ("outcome", ServiceFilter)
    change_form_outer_before_template = "console/request_links.html"  # to its trace and its tasks, of the console
    search_fields = ("trace_id__exact", "correlation_id__exact")
    search_help_text = "A whole trace id or correlation id"
