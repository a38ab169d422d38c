"""Sagas in the admin: read, search, and see why; nothing here writes a saga's rows."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from sagas.models import SagaExecution, SagaStepExecution, SagaTransition

COLOURS = {
    "completed": "success",
    "compensated": "warning",
    "needs_operator": "danger",
    "failed": "danger",
    "compensating": "warning",
    "running": "info",
    "waiting": "info",
}


class ReadOnly:
    """History is shown, never edited."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class StepInline(ReadOnly, TabularInline):
    model = SagaStepExecution
    fields = (
        "index",
        "step_name",
        "status",
        "attempts",
        "undo_attempts",
        "served_by",
        "error_text",
        "undo_error_text",
        "due_at",
        "lease_until",
    )
    readonly_fields = fields
    ordering = ("index",)
    extra = 0

    @display(description="error")
    def error_text(self, step: SagaStepExecution) -> str:
        return error_in_words(step.error)

    @display(description="error of its undo")
    def undo_error_text(self, step: SagaStepExecution) -> str:
        return error_in_words(step.undo_error)


class TransitionInline(ReadOnly, TabularInline):
    model = SagaTransition
    verbose_name_plural = "history"
    fields = ("at", "step_id", "old", "new", "reason", "actor")
    readonly_fields = fields
    ordering = ("id",)
    extra = 0
    per_page = 50


@admin.register(SagaExecution)
class SagaExecutionAdmin(ReadOnly, ModelAdmin):
    list_display = ("short_id", "saga_name", "coloured_status", "cause", "error_code", "created_at", "finished_at")
    list_filter = ("status", "saga_name")
    search_fields = ("=id", "=correlation_id", "=trace_id", "=idempotency_key")
    search_help_text = "execution id, correlation id, trace id or idempotency key, in full"
    ordering = ("-created_at",)
    show_full_result_count = False
    list_per_page = 50
    inlines = (StepInline, TransitionInline)
    fieldsets = (
        (None, {"fields": ("what_happened", "saga_name", "definition", "coloured_status", "cause")}),
        ("Times", {"fields": ("created_at", "started_at", "finished_at", "deadline_at", "next_wake_at")}),
        ("Identity", {"fields": ("id", "correlation_id", "trace_id", "idempotency_key")}),
        ("Context", {"classes": ("collapse",), "fields": ("context",)}),
    )

    @display(description="id", ordering="-created_at")
    def short_id(self, run: SagaExecution) -> str:
        return str(run.pk)[:8]

    @display(description="status", label=COLOURS)
    def coloured_status(self, run: SagaExecution) -> str:
        return run.status

    @display(description="error")
    def error_code(self, run: SagaExecution) -> str:
        return (run.error or {}).get("code", "")

    @display(description="what happened")
    def what_happened(self, run: SagaExecution) -> str:
        step = (run.error or {}).get("step_id")
        where = f" at step {step}" if step else ""
        return format_html("{}{}", run.blocked_reason or error_in_words(run.error) or run.get_status_display(), where)


def error_in_words(error: dict[str, Any] | None) -> str:
    return f"{error.get('code', '')}: {error.get('message', '')}" if error else ""
