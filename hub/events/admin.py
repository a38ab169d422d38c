"""The bus in the admin: routes and subscriptions to edit, events and deliveries to read; dead letters have pages in the console."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold import decorators as unfold
from unfold.admin import ModelAdmin

from hub.events import causation, pages, subscriptions
from hub.events.forms import POLICY_FIELDS, TARGET_FIELDS, SubscriptionForm, TopicRouteForm
from hub.events.models import DeadLetter, Delivery, Event, ReplayRun, Subscription, Topic, TopicRoute
from hub.events.roster import Roster
from hub.history_admin import HistoryAdmin
from hub.telemetry.redaction import Redactor
from hub.telemetry.secrets import known_secrets
from hub.telemetry.text import as_json

_OPEN = Delivery.objects.filter(subscription=OuterRef("pk"), finished_at=None).order_by()
# Counted over the index of open deliveries: a join would read every delivery that ever was.
WAITING = Coalesce(Subquery(_OPEN.values("subscription").annotate(count=Count("pk")).values("count")), 0)


@admin.register(Subscription)
class SubscriptionAdmin(ModelAdmin):
    """Who gets which events, durably."""

    form = SubscriptionForm
    change_form_outer_before_template = "console/subscription_actions.html"  # pause and resume, of the console
    list_display: Any = ("name", "pattern", "target", "waiting", "paused", "held_until", "held_reason")
    list_filter: Any = ("kind", "paused")
    search_fields = ("name", "pattern", "service_name")
    list_per_page = 50
    actions_list: ClassVar = ["ask_who"]
    actions_detail: ClassVar = ["replay_past"]
    fieldsets: Any = [
        (None, {"fields": ["name", "pattern", "kind", *TARGET_FIELDS]}),
        ("Delivery", {"fields": POLICY_FIELDS}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        """Count what waits in one query."""
        found: QuerySet[Subscription] = super().get_queryset(request).annotate(waiting=WAITING)
        return found

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """The name is how a subscriber finds its events again."""
        return ["name"] if obj else []

    @admin.display(description="waiting")
    def waiting(self, row: Any) -> int:
        """Return how many events it has not got yet."""
        return int(row.waiting)

    def save_model(self, request: HttpRequest, obj: Subscription, form: SubscriptionForm, change: bool) -> None:
        """Leave the writing to the service, which also sees that nothing unread is given up."""
        name = obj.name or form.cleaned_data["name"]
        pattern, everything = form.cleaned_data["pattern"], form.keeps_pattern()
        saved = subscriptions.subscribe(name, pattern, form.target(), policy=form.policy(), everything=everything)
        obj.pk = saved.pk

    def delete_model(self, request: HttpRequest, obj: Subscription) -> None:
        """Leave the removing to the service, which knows how to end what is under way."""
        subscriptions.unsubscribe(obj.name)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        """Remove each as if it were the only one."""
        for row in queryset:
            subscriptions.unsubscribe(row.name)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Say what goes by its number: a list of every delivery would be no page, and asks for the right to delete history."""
        rows = list(objs)
        waiting = Delivery.objects.filter(subscription__in=rows, finished_at=None).count()
        letters = DeadLetter.objects.filter(subscription__in=rows, status=DeadLetter.Status.OPEN).count()
        lost = [f"{waiting} events that wait for delivery", f"{letters} open dead letters"]
        return [*map(str, rows), *lost], {"subscriptions": len(rows)}, set(), []

    def get_urls(self) -> list[URLPattern]:
        """Add the page of the past, and that of who would get what."""
        wrap, model = self.admin_site.admin_view, self.opts.model_name
        own = [
            path("who/", wrap(pages.who_would_get), name=f"events_{model}_who"),
            path("<int:pk>/replay/", wrap(pages.replay), name=f"events_{model}_replay"),
        ]
        return [*own, *super().get_urls()]

    @unfold.action(description="Who would get this?", url_path="who-would-get")
    def ask_who(self, request: HttpRequest) -> HttpResponse:
        """Lead to the page that asks for a topic."""
        return HttpResponseRedirect(reverse("admin:events_subscription_who"))

    @unfold.action(description="Replay the past", url_path="replay-the-past", permissions=["change"])
    def replay_past(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Lead to the page that asks from when."""
        return HttpResponseRedirect(reverse("admin:events_subscription_replay", args=[object_id]))


@admin.register(TopicRoute)
class TopicRouteAdmin(SubscriptionAdmin):
    """Routes from a topic pattern to a layer's endpoint: ``agent.*`` -> ``POST /events/agent`` of L02_runtime."""

    form = TopicRouteForm
    list_display = ("name", "pattern", "service_name", "method", "path", "waiting", "paused", "held_reason")
    list_filter = ("paused",)
    fieldsets: Any = [
        (None, {"fields": ["name", "pattern", "service_name", "method", "path"]}),
        ("Delivery", {"fields": POLICY_FIELDS, "classes": ["collapse"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        """Show those that go to a service."""
        return super().get_queryset(request).filter(kind=Subscription.Kind.HTTP)


@admin.register(Event)
class EventAdmin(HistoryAdmin):
    """Events that somebody durable wanted."""

    list_display = ("time", "topic", "event_type", "source", "correlation_id", "causation_id", "hops", "event_id")
    search_fields = ("event_id__exact", "topic__exact", "correlation_id__exact", "causation_id__exact", "trace_id__exact")
    search_help_text = "Event, correlation, causation or trace id, or a topic, exactly"
    ordering = ("-id",)

    def get_urls(self) -> list[URLPattern]:
        """Add the page of what an event led to."""
        page = path("<int:pk>/causation/", self.admin_site.admin_view(self.causation), name="events_event_causation")
        return [page, *super().get_urls()]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Begin with the way to that page."""
        return [
            "who_has_it",
            "led_to",
            *("envelope" if field.name == "body" else field.name for field in Event._meta.fields if field.name != "id"),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Nothing of it is changed."""
        return self.get_fields(request, obj)

    @admin.display(description="deliveries")
    def who_has_it(self, row: Event) -> str:
        """Return a link to where its deliveries stand."""
        address = reverse("admin:events_delivery_changelist", query={"q": row.event_id})
        return format_html('<a href="{}">Show who got it, who waits, and why</a>', address)

    @admin.display(description="causes and effects")
    def led_to(self, row: Event) -> str:
        """Return a link to what led to the event and what it led to."""
        return format_html('<a href="{}">Show the chain of causes</a>', reverse("admin:events_event_causation", args=[row.pk]))

    @admin.display(description="event")
    def envelope(self, row: Event) -> str:
        """Return what was published, without its secrets."""
        return format_html("<pre>{}</pre>", as_json(row.body, Redactor(known_secrets())))

    def causation(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the events around this one by their causes, and the requests and sagas of their traces."""
        event = get_object_or_404(Event, pk=pk)
        if not self.has_view_permission(request, event):
            raise PermissionDenied
        context = {**self.admin_site.each_context(request), "title": f"Causes of {event.topic}", "event": event}
        return TemplateResponse(request, "events/causation.html", {**context, "graph": causation.graph(event)})


@admin.register(Delivery)
class DeliveryAdmin(HistoryAdmin):
    """What was or will be delivered to whom."""

    list_display = ("id", "subscription", "topic", "status", "attempts", "due_at", "error_code", "finished_at")
    list_filter = ("status", "subscription")
    list_select_related = ("subscription", "event")
    search_fields = ("event__event_id__exact",)
    ordering = ("-id",)

    @admin.display(description="topic")
    def topic(self, row: Delivery) -> str:
        """Return the event's topic."""
        return row.event.topic


@admin.register(ReplayRun)
class ReplayRunAdmin(HistoryAdmin):
    """Replays of whole causes."""

    list_display = ("started_at", "fingerprint", "status", "released", "limit", "rate_per_sec", "requested_by", "stopped_because")
    list_filter = ("status",)
    ordering = ("-id",)


@admin.register(Topic)
class TopicAdmin(HistoryAdmin):
    """Topics in use, how busy they are, and who would get an event on them."""

    list_display = ("name", "events", "unwanted", "subscribers", "last_at")
    search_fields = ("name",)
    ordering = ("-unwanted", "name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Topic]:
        """Load the subscriptions once for the page."""
        self._roster = Roster()
        self._roster.refresh()
        found: QuerySet[Topic] = super().get_queryset(request)
        return found

    @admin.display(description="who would get it")
    def subscribers(self, row: Topic) -> str:
        """Return the durable subscriptions that match."""
        return ", ".join(sorted(one.name for one in self._roster.of_topic(row.name))) or "nobody"
