"""Requests in the admin: read-only history."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from hub.routing.models import RoutedRequest


@admin.register(RoutedRequest)
class RoutedRequestAdmin(ModelAdmin):
    """What was asked of services, and how it ended."""

    list_display = ("created_at", "service_name", "method", "path", "outcome", "status_code", "code", "attempts", "duration_ms", "trace_id")
    list_filter = ("outcome", "service_name")
    search_fields = ("=trace_id", "=correlation_id")
    search_help_text = "A whole trace id or correlation id"
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        """History is written by the hub."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """History is not changed."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """History ends by its retention."""
        return False
