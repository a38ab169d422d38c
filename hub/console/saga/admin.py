"""Sagas in the admin: the list with its presets, and one page for each saga."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from unfold.admin import ModelAdmin
from unfold.decorators import display

from hub.console.reading import ReadOnly
from hub.console.saga import views
from sagas.models import SagaExecution

COLOURS = {
    "completed": "success",
    "compensated": "warning",
    "needs_operator": "danger",
    "failed": "danger",
    "compensating": "warning",
    "running": "info",
    "waiting": "info",
}


class SagaExecutionAdmin(ReadOnly, ModelAdmin):
    """Runs, the newest first."""

    list_display = ("short_id", "saga_name", "coloured_status", "cause", "error_code", "correlation_id", "created_at", "finished_at")
    list_filter = ("status", "saga_name")
    search_fields = ("=id", "=correlation_id", "=trace_id", "=idempotency_key")
    search_help_text = "execution id, correlation id, trace id or idempotency key, in full"
    ordering = ("-created_at",)
    show_full_result_count = False
    list_per_page = 50

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Show the saga's own page, which has no form to save."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        return views.show(request, object_id)

    @display(description="id", ordering="-created_at")
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
