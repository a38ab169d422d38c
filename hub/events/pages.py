"""Pages of the bus that are no lists of rows: who would get an event on a topic, and the past for a subscription."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from hub.errors import IntegrationError
from hub.events import replays, subscriptions
from hub.events.models import Subscription


class TopicForm(forms.Form):
    """The topic that is asked about."""

    topic = forms.CharField(max_length=255, widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "agent.created"}))


class ReplayForm(forms.Form):
    """From when a subscription gets the past."""

    since = forms.DateTimeField(
        label="Since (UTC)",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "2026-11-01 00:00"}),
        help_text="as far back as the stream goes",
    )
    again = forms.BooleanField(required=False, label="Also what it has already", widget=UnfoldBooleanSwitchWidget)


def who_would_get(request: HttpRequest) -> HttpResponse:
    """Show who would get an event on a topic now."""
    _check(request, "events.view_subscription")
    form, audience = TopicForm(request.GET or None), None
    if form.is_valid():
        try:
            audience = subscriptions.who_would_get(form.cleaned_data["topic"])
        except IntegrationError as exc:
            form.add_error("topic", str(exc))
    return _page(request, "events/who_would_get.html", title="Who would get this?", form=form, audience=audience)


def replay(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask from when, and give the subscription what was published since."""
    _check(request, "events.change_subscription")
    subscription = get_object_or_404(Subscription, pk=pk)
    form = ReplayForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _replay(request, subscription, form)
    return _page(request, "events/replay.html", title=f"Replay to {subscription.name}", form=form, subscription=subscription)


def _replay(request: HttpRequest, subscription: Subscription, form: ReplayForm) -> HttpResponse:
    since, again = form.cleaned_data["since"], form.cleaned_data["again"]
    count = replays.from_time(subscription.name, since, again=again)
    text = f"replayed {count} events since {since.isoformat()}{', also delivered ones' if again else ''}"
    admin.site._registry[Subscription].log_change(request, subscription, text)
    messages.success(request, text)
    return HttpResponseRedirect(reverse("admin:events_subscription_change", args=[subscription.pk]))


def _check(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied(permission)


def _page(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    return TemplateResponse(request, template, {**admin.site.each_context(request), **context})
