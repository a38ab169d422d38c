"""The registry's history in the admin; instances themselves have pages in the console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from registry_app.models import HealthChange, NameOwner


class ReadOnly:
    """The registry is written by layers, probes and the actions below, never by a form."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Services register themselves."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Fields are not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Deregister instead: the history stays."""
        return False


@admin.register(HealthChange)
class HealthChangeAdmin(ReadOnly, ModelAdmin):
    """All changes, the newest first."""

    list_display = ("at", "service", "kind", "old_status", "new_status", "reason")
    list_select_related = ("service",)
    ordering = ("-at",)
    show_full_result_count = False
    list_per_page = 50


@admin.register(NameOwner)
class NameOwnerAdmin(ReadOnly, ModelAdmin):
    """Who owns which name."""

    list_display = ("service_name", "owner", "since")
    search_fields = ("=service_name",)
    list_per_page = 50
