"""The bus's tasks: publishing and subscribing for layers, deliveries to handlers of this code base, and pruning."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task

from hub.events import bus, dispatch, layers, messages, retention
from hub.events.messages import EventMessage
from hub.public_task import PublicTask


@shared_task(name="hub.events.publish", bind=True, base=PublicTask)
def publish(
    self: Task,
    topic: str,
    event_type: str,
    payload: dict[str, Any],
    source_service: str | None = None,
    tags: list[str] | None = None,
    trace_id: str | None = None,
    correlation_id: str | None = None,
    priority: str = "normal",
    event_id: str | None = None,
) -> dict[str, str]:
    """Publish an event and return its id; the arguments are those of `EventMessage.create`.

    Without an `event_id` the event has that of the message: one that the broker hands out twice is one event.
    """
    event_id = event_id or messages.usable_id(self.request.id)
    event = EventMessage.create(topic, event_type, payload, source_service, trace_id, correlation_id, priority, tags, event_id=event_id)
    return {"event_id": bus.publish_from_outside(event)}


@shared_task(name="hub.events.subscribe", base=PublicTask)
def subscribe(source_service: str, name: str, pattern: str, target: dict[str, str], policy: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make a layer's durable subscription, or change it; see `layers.subscribe`."""
    return layers.subscribe(source_service, name, pattern, target, policy)


@shared_task(name="hub.events.unsubscribe", base=PublicTask)
def unsubscribe(source_service: str, name: str) -> dict[str, str]:
    """Remove a layer's durable subscription; see `layers.unsubscribe`."""
    return layers.unsubscribe(source_service, name)


@shared_task(name="hub.events.deliver", ignore_result=True)
def deliver(delivery_id: int, attempt: int) -> None:
    """Call a handler that this code base knows by name."""
    dispatch.run_handler(delivery_id, attempt)


@shared_task(name="hub.control.prune_events", ignore_result=True)
def prune() -> None:
    """Delete what is delivered, discarded or resolved and beyond its retention."""
    retention.prune()
