"""Events: publish one, subscribe durably, and see who is subscribed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http import HttpRequest
from ninja import Query, Router

from hub.api import paging
from hub.api.bodies import Body
from hub.api.offer import listing, operation
from hub.api.paging import Paged
from hub.api.scopes import Scope
from hub.events import bus, layers, subscriptions, whereabouts
from hub.events.messages import EventMessage
from hub.events.models import Subscription

router = Router(tags=["events"])


class EventWish(Body):
    """An event; the same `event_id` again repeats a publish whose outcome is unknown."""

    topic: str
    event_type: str
    payload: dict[str, Any]
    source_service: str | None = None
    trace_id: str | None = None
    correlation_id: str | None = None
    priority: str = "normal"
    tags: list[str] | None = None
    event_id: str | None = None


class SubscriptionWish(Body):
    """What to deliver, and where: ``{task, queue}`` or ``{service_name, path}``."""

    pattern: str
    target: dict[str, str]
    policy: dict[str, Any] | None = None


@operation(router, "POST", "/events", Scope.EVENTS_PUBLISH, status=202)
def publish_event(request: HttpRequest, body: EventWish) -> dict[str, Any]:
    """Publish an event."""
    return {"event_id": bus.publish_from_outside(EventMessage.create(**body.model_dump()))}


@operation(router, "GET", "/events/{event_id}", Scope.READ)
def show_event(request: HttpRequest, event_id: str) -> dict[str, Any]:
    """Show what became of an event: how far it is, and where its delivery to each durable subscription stands."""
    return asdict(whereabouts.of(event_id))


@listing(router, "/subscriptions")
def list_subscriptions(request: HttpRequest, query: Query[Paged]) -> dict[str, Any]:
    """List durable subscriptions, newest first."""
    page, cursor = paging.newest_first(Subscription.objects.all(), query, "id")
    return {"items": [_as_json(row) for row in page], "next": cursor}


@operation(router, "GET", "/subscriptions/{source_service}/{name}", Scope.READ)
def show_subscription(request: HttpRequest, source_service: str, name: str) -> dict[str, Any]:
    """Show a layer's durable subscription: its policy, and how many events wait (`pending`) and are under way (`sending`)."""
    row = layers.find(source_service, name)
    return {**_as_json(row), "policy": asdict(subscriptions.policy_of(row)), **subscriptions.backlog(row)}


@operation(router, "PUT", "/subscriptions/{source_service}/{name}", Scope.EVENTS_SUBSCRIBE)
def make_subscription(request: HttpRequest, source_service: str, name: str, body: SubscriptionWish) -> dict[str, Any]:
    """Make the durable subscription ``source_service:name``, or change it.

    Events published from now on are delivered to it, whether the subscriber is there or not.
    """
    return layers.subscribe(source_service, name, **body.model_dump())


@operation(router, "DELETE", "/subscriptions/{source_service}/{name}", Scope.EVENTS_SUBSCRIBE)
def remove_subscription(request: HttpRequest, source_service: str, name: str) -> dict[str, str]:
    """Remove a durable subscription with all it has not delivered yet."""
    return layers.unsubscribe(source_service, name)


def _as_json(row: Subscription) -> dict[str, Any]:
    columns = ("name", "pattern", "kind", "target", "paused", "held_until", "held_reason", "created_at")
    return {name: getattr(row, name) for name in columns}
