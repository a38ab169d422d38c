"""What became of breakers, in the admin; what operators want of them is in the console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from hub.circuits.models import CircuitTransition


@admin.register(CircuitTransition)
class CircuitTransitionAdmin(ModelAdmin):
    """What became of breakers, and what led to it."""

    list_display = ("at", "service_name", "old_state", "new_state", "why", "by", "reason", "until", "worker", "trace_id")
    list_filter = ("service_name",)
    search_fields = ("=service_name", "=trace_id")
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
