"""Services in the admin: the sick first, what each witness says, and the few things an operator does about it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextInputWidget

from hub.circuits import breaker
from hub.circuits.models import CircuitSetting
from hub.errors import IntegrationError
from registry_app import maintenance, overview, prober, services
from registry_app.models import HealthChange, NameOwner, Service

COLOURS = {"healthy": "success", "degraded": "warning", "unhealthy": "danger", "unknown": "info", "deregistered": ""}
_BAR = {"g": "#16a34a", "s": "#d97706", "b": "#dc2626", "-": "#9ca3af"}
_VERDICTS = {"g": "good", "s": "slow", "b": "bad", "-": "silent"}


class ReasonForm(BaseDialogForm):
    """Why an operator does it; it goes into the history."""

    reason = forms.CharField(max_length=150, widget=UnfoldAdminTextInputWidget)


class MaintenanceForm(ReasonForm):
    """Why, and for how long."""

    minutes = forms.DecimalField(
        min_value=1, max_value=maintenance.MAX_MINUTES, initial=30, decimal_places=0, widget=UnfoldAdminDecimalFieldWidget
    )


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


class ChangeInline(ReadOnly, TabularInline):
    """The last changes of an instance."""

    model = HealthChange
    fields = ("at", "kind", "old_status", "new_status", "reason")
    readonly_fields = fields
    ordering = ("-at",)
    extra = 0
    per_page = 25


class RegisteredFilter(admin.SimpleListFilter):
    """Who is there; those who left only on request."""

    title = "registered"
    parameter_name = "registered"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer those who left; the default is who is there."""
        return [("no", "left"), ("all", "all")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Service]) -> QuerySet[Service]:
        """Filter by the partial indexes on ``deregistered_at``."""
        if self.value() == "all":
            return queryset
        return queryset.filter(deregistered_at__isnull=self.value() != "no")


@admin.register(Service)
class ServiceAdmin(ReadOnly, ModelAdmin):
    """Instances, the sick first."""

    list_display = (
        "service_name",
        "service_version",
        "endpoint",
        "coloured_status",
        "reason",
        "last_checks",
        "latency",
        "flapping",
        "last_probe_at",
    )
    list_filter = (RegisteredFilter, "status", "check_type")
    search_fields = ("=service_id", "=service_name")
    search_help_text = "service name or id, in full"
    show_full_result_count = False
    list_per_page = 50
    inlines = (ChangeInline,)
    actions_detail = ("probe_now", "begin_maintenance", "end_maintenance", "deregister")
    fieldsets = (
        (None, {"fields": ("service_name", "service_version", "endpoint", "coloured_status", "reason", "status_since", "last_checks")}),
        (
            "Witnesses",
            {"fields": ("what_they_say", "flapping", "failures", "successes", "last_probe_at", "last_heartbeat_at", "next_probe_at")},
        ),
        ("Circuit breaker", {"fields": ("breaker_now",), "description": "One for all instances of the name."}),
        ("Maintenance", {"fields": ("maintenance_until", "maintenance_reason", "maintenance_by")}),
        ("Registration", {"fields": ("service_id", "owner", "generation", "weight", "tags", "capabilities", "metadata", "health_check")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Service]:
        """Put the sick first."""
        rows: QuerySet[Service] = super().get_queryset(request)
        return rows.order_by(overview.by_severity, "service_name", "endpoint")

    def get_ordering(self, request: HttpRequest) -> list[str]:
        """The order is that of `get_queryset` unless a column is clicked."""
        return []

    @display(description="status", label=COLOURS)
    def coloured_status(self, row: Service) -> tuple[str, str]:
        """Return the status for its colour, and what to show."""
        return ("deregistered" if row.deregistered_at else row.status), overview.standing(row)

    @display(description="last checks")
    def last_checks(self, row: Service) -> str:
        """Draw the last verdicts as bars, newest at the right."""
        bars = ((_BAR[letter], _VERDICTS[letter]) for letter in row.tracker)
        bar = '<span style="display:inline-block;width:3px;height:14px;margin-right:1px;background:{}" title="{}"></span>'
        return format_html('<span style="white-space:nowrap">{}</span>', format_html_join("", bar, bars)) if row.tracker else "none yet"

    @display(description="ms")
    def latency(self, row: Service) -> str:
        """Return how long the last check took."""
        return f"{row.recent_ms[-1]:,.0f}" if row.recent_ms else ""

    @display(description="flaps")
    def flapping(self, row: Service) -> str:
        """Return the flap penalty, where there is one."""
        penalty = overview.flap_penalty(row)
        return f"{penalty:.1f}" if penalty >= 0.05 else ""

    @display(description="what they say")
    def what_they_say(self, row: Service) -> str:
        """List the witnesses, each with its verdict and reason."""
        said = ((name, one["verdict"], one["reason"], one["at"]) for name, one in row.witnesses.items())
        return format_html_join("", "<div><b>{}</b>: {}, {} <small>({})</small></div>", said) or "nobody said anything yet"

    @display(description="now")
    def breaker_now(self, row: Service) -> str:
        """Say how the breaker of the name stands, and lead to its thresholds, manual states and history."""
        name, page = row.service_name, "admin:circuits_circuitsetting"
        setting = CircuitSetting.objects.filter(service_name=name).first()
        rules = reverse(f"{page}_change", args=[setting.pk]) if setting else f"{reverse(f'{page}_add')}?service_name={quote(name)}"
        history = f"{reverse('admin:circuits_circuittransition_changelist')}?q={quote(name)}"
        seen = breaker.look(name)
        state = f"{seen.state}, {seen.get_error_rate():.0%} of {seen.ok + seen.failed} calls failed"
        links = '{} · <a href="{}">thresholds and manual states</a> · <a href="{}">what became of it</a>'
        return format_html(links, state if seen.shared else f"{state} (this process only: Redis is gone)", rules, history)

    @action(description="Probe now", url_path="probe", permissions=["operate"], dialog={"title": "Probe now"})
    def probe_now(self, request: HttpRequest, form: BaseDialogForm, object_id: int) -> HttpResponse:
        """Probe the instance and show what came out."""
        row = self._row(object_id)
        status = prober.probe_now(row.service_id)
        return self._back(request, row, f"probed: {status or 'not registered any more'}")

    @action(
        description="Begin maintenance",
        url_path="begin-maintenance",
        permissions=["operate"],
        dialog={"title": "Take out of routing for a while", "form_class": MaintenanceForm},
    )
    def begin_maintenance(self, request: HttpRequest, form: MaintenanceForm, object_id: int) -> HttpResponse:
        """Take the instance out of routing until the end that was given."""
        row, given = self._row(object_id), form.cleaned_data
        try:
            maintenance.begin(row.service_id, minutes=float(given["minutes"]), reason=given["reason"], by=_name_of(request))
        except IntegrationError as exc:
            return self._back(request, row, str(exc), level=messages.ERROR)
        return self._back(request, row, f"out of routing for {given['minutes']} minutes")

    @action(description="End maintenance", url_path="end-maintenance", permissions=["operate"], dialog={"title": "Put back into routing"})
    def end_maintenance(self, request: HttpRequest, form: BaseDialogForm, object_id: int) -> HttpResponse:
        """Put the instance back into routing."""
        row = self._row(object_id)
        try:
            maintenance.end(row.service_id, by=_name_of(request))
        except IntegrationError as exc:
            return self._back(request, row, str(exc), level=messages.ERROR)
        return self._back(request, row, "back in routing")

    @action(
        description="Deregister",
        url_path="deregister",
        permissions=["operate"],
        variant=ActionVariant.DANGER,
        dialog={"title": "Take out of the registry", "form_class": ReasonForm},
    )
    def deregister(self, request: HttpRequest, form: ReasonForm, object_id: int) -> HttpResponse:
        """Take the instance out of the registry; its history stays."""
        row = self._row(object_id)
        services.deregister(row.service_id, reason=f"{form.cleaned_data['reason']} ({_name_of(request)})", force=True)
        return self._back(request, row, "deregistered")

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever may change services may do these; seeing them needs less."""
        return bool(request.user.has_perm("registry.change_service"))

    def _row(self, object_id: int) -> Service:
        return Service.objects.get(pk=object_id)

    def _back(self, request: HttpRequest, row: Service, message: str, *, level: int = messages.SUCCESS) -> HttpResponse:
        self.log_change(request, row, message)
        self.message_user(request, f"{row.service_name}: {message}", level)
        page = reverse("admin:registry_service_change", args=[row.pk])
        # The dialog posts by htmx, which would follow a redirect by itself and put the page into the dialog.
        return HttpResponse(headers={"HX-Redirect": page}) if "HX-Request" in request.headers else HttpResponseRedirect(page)


def _name_of(request: HttpRequest) -> str:
    return str(request.user.get_username())


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
