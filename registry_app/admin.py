"""The registry's history in the admin; instances themselves have pages in the console."""

from __future__ import annotations

from django.contrib import admin

from hub.history_admin import HistoryAdmin
from registry_app.models import HealthChange, NameOwner


@admin.register(HealthChange)
class HealthChangeAdmin(HistoryAdmin):
    """All changes, the newest first."""

    list_display = ("at", "service", "kind", "old_status", "new_status", "reason")
    list_select_related = ("service",)
    ordering = ("-at",)


@admin.register(NameOwner)
class NameOwnerAdmin(HistoryAdmin):
    """Who owns which name."""

    list_display = ("service_name", "owner", "since")
    search_fields = ("service_name__exact",)
