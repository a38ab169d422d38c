"""What became of breakers, in the admin; what operators want of them is in the console."""

from __future__ import annotations

from django.contrib import admin

from hub.circuits.models import CircuitTransition
from hub.history_admin import HistoryAdmin


@admin.register(CircuitTransition)
class CircuitTransitionAdmin(HistoryAdmin):
    """What became of breakers, and what led to it."""

    list_display = ("at", "service_name", "old_state", "new_state", "why", "by", "reason", "until", "worker", "trace_id")
    search_fields = ("service_name__exact", "trace_id__exact")
    search_help_text = "service name or trace id, in full"
