"""What the tests of durable subscriptions share: events, a relay that does one round, and the messages in a queue."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from hub import database_clock
from hub.events import bus, deliveries, dispatch, stream, subscriptions
from hub.events.messages import EventMessage
from hub.events.models import Delivery, Subscription
from hub.events.relay import Relay
from hub.events.retries import code_in
from hub.events.subscriptions import Policy
from hub.events.targets import TaskTarget
from hub.redis_client import client

QUEUE = "l03"
TASK = TaskTarget(task="l03.on_event", queue=QUEUE)


def now(**later: float) -> datetime:
    return database_clock.moment() + timedelta(**later)


def event(topic: str = "agent.created", payload: dict[str, Any] | None = None, **options: Any) -> EventMessage:
    return EventMessage.create(topic, "created", payload or {"agent_id": "agent-123"}, **options)


def publish(*topics: str, **options: Any) -> list[str]:
    return [bus.publish(event(topic, **options)) for topic in topics or ("agent.created",)]


def subscribed(name: str = "l03", pattern: str = "agent.*", target: Any = TASK, **policy: Any) -> Subscription:
    return subscriptions.subscribe(name, pattern, target, policy=Policy(**{"retry_delay_sec": 0.01, **policy}))


def relay_round(relay: Relay | None = None) -> None:
    (relay or Relay(claim_idle_ms=0)).round(block_ms=0)


def queued(queue: str = QUEUE) -> list[dict[str, Any]]:
    """Return headers of the messages in a queue, in the order they will be read."""
    return [json.loads(text)["headers"] for text in reversed(client().lrange(queue, 0, -1))]


def send_again(**later: float) -> None:
    """Send what is due by then, as the relay would."""
    dispatch.send_due(now=now(**later), floor=stream.taken_over())


def under_way() -> list[Delivery]:
    return list(Delivery.objects.filter(status=Delivery.Status.SENDING).order_by("position"))


def fail_all(error: str = "ValueError: no", **later: float) -> None:
    """Let every delivery that is under way fail once."""
    for row in under_way():
        deliveries.failed(row.pk, row.attempts, error=error, code=code_in(error), now=now(**later))


def deliver_all() -> None:
    """Let every delivery that is under way succeed."""
    for row in under_way():
        dispatch.answer_delivered(row.pk)


def fail_until_dead(error: str = "ValueError: no") -> None:
    while under_way():
        fail_all(error)
        send_again(hours=1)
