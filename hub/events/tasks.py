"""The bus's tasks: publishing for layers, and what the relay sends to workers."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from hub.events import bus
from hub.events.messages import EventMessage


@shared_task(name="hub.events.publish")
def publish(topic: str, event_type: str, payload: dict[str, Any], **options: Any) -> dict[str, str]:
    """Publish an event; `options` are the further arguments of `EventMessage.create`. Returns its id."""
    return {"event_id": bus.publish_from_outside(EventMessage.create(topic, event_type, payload, **options))}
