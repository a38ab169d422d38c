"""Spans in the admin: to be read, never changed."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin

from hub.history_admin import HistoryAdmin
from hub.telemetry.models import Span


@admin.register(Span)
class SpanAdmin(HistoryAdmin):
    """The newest spans; a trace is all spans of one trace id."""

    list_display = ("start", "service", "name", "kind", "status", "duration", "trace_id")
    list_filter = ("status", "kind")
    search_fields = ("trace_id__exact", "correlation_id__exact", "service__exact")
    search_help_text = "trace id, correlation id or service, exactly"
    ordering = ("-start",)
    readonly_fields: ClassVar = [field.name for field in Span._meta.fields]

    @admin.display(description="ms")
    def duration(self, span: Span) -> str:
        """Return the duration in milliseconds."""
        return f"{span.duration_us / 1000:,.1f}"
