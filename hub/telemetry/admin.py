"""Spans in the admin: to be read, never changed."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from hub.telemetry.models import Span


@admin.register(Span)
class SpanAdmin(ModelAdmin):
    """The newest spans; a trace is all spans of one trace id."""

    list_display = ("start", "service", "name", "kind", "status", "duration", "trace_id")
    list_filter = ("status", "kind")
    search_fields = ("=trace_id", "=correlation_id", "=service")
    search_help_text = "trace id, correlation id or service, exactly"
    ordering = ("-start",)
    list_per_page = 50
    show_full_result_count = False
    readonly_fields: ClassVar = [field.name for field in Span._meta.fields]

    @admin.display(description="ms")
    def duration(self, span: Span) -> str:
        """Return the duration in milliseconds."""
        return f"{span.duration_us / 1000:,.1f}"

    def has_add_permission(self, request: HttpRequest) -> bool:
        """History is not made by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """History is not changed."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Retention prunes; nobody picks."""
        return False
