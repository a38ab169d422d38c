"""Breakers in the admin: what operators want of them, and what became of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin

from hub.circuits import breaker, history, services
from hub.circuits.config import CONFIG_FIELDS, check_overrides
from hub.circuits.models import CircuitSetting, CircuitTransition
from hub.errors import IntegrationError


class CircuitSettingForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Refuse values that no breaker can work with, and a manual state without a reason or an end."""

    class Meta:
        model = CircuitSetting
        fields: ClassVar = ["service_name", "mode", "mode_why", "mode_until", *CONFIG_FIELDS]

    def clean(self) -> dict[str, Any]:
        """Check the values as the breaker will."""
        found: dict[str, Any] = super().clean() or {}
        try:
            breaker.check_name(found.get("service_name") or self.instance.service_name)
            check_overrides(found)
        except IntegrationError as exc:
            raise forms.ValidationError(str(exc)) from None
        if found.get("mode"):
            self._check_force(found)
        return found

    def _check_force(self, found: dict[str, Any]) -> None:
        if not found.get("mode_why"):
            self.add_error("mode_why", "Say why: whoever is on call next must know.")
        until = found.get("mode_until")
        if until is None:
            found["mode_until"] = timezone.now() + timedelta(seconds=services.DEFAULT_FORCE_SEC)
        elif not timezone.now() < until <= timezone.now() + timedelta(seconds=services.MAX_FORCE_SEC):
            self.add_error("mode_until", "The end must lie ahead, and at most a week.")


@admin.register(CircuitSetting)
class CircuitSettingAdmin(ModelAdmin):
    """Thresholds of one service, and its manual state."""

    form = CircuitSettingForm
    list_display = ("service_name", "state_now", "error_rate", "mode", "mode_by", "mode_why", "mode_until")
    search_fields = ("service_name",)
    fieldsets = (
        (None, {"fields": ("service_name",)}),
        ("Manual state", {"fields": ("mode", "mode_why", "mode_until"), "description": "For the whole fleet, and it ends by itself."}),
        ("Thresholds", {"fields": CONFIG_FIELDS, "description": "Empty: the default of HUB_CIRCUIT_*."}),
    )
    list_per_page = 50

    @admin.display(description="state")
    def state_now(self, row: CircuitSetting) -> str:
        """Show how the breaker stands at this moment."""
        seen = breaker.look(row.service_name)
        return str(seen.state) if seen.shared else f"{seen.state} (Redis is gone)"

    @admin.display(description="error rate")
    def error_rate(self, row: CircuitSetting) -> str:
        """Show the share of failed calls in the window."""
        return f"{breaker.look(row.service_name).get_error_rate():.0%}"

    def save_model(self, request: HttpRequest, obj: CircuitSetting, form: Any, change: bool) -> None:
        """Keep the row, then tell the fleet."""
        obj.mode_by = str(request.user) if obj.mode else ""
        super().save_model(request, obj, form, change)
        try:
            services.apply_setting(obj, by=str(request.user))
        except IntegrationError as exc:
            messages.warning(request, str(exc))
        history.record_transitions()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Keep the name of an existing row: it is what the fleet knows the breaker by."""
        return ("service_name",) if obj else ()

    def delete_model(self, request: HttpRequest, obj: CircuitSetting) -> None:
        """Take the overrides and the manual state off, in the fleet too."""
        services.configure(obj.service_name, dict.fromkeys(CONFIG_FIELDS))
        services.reset(obj.service_name, by=str(request.user), why="setting deleted")
        super().delete_model(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Delete one at a time: each must be told to the fleet."""
        return obj is not None and super().has_delete_permission(request, obj)


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
