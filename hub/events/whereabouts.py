"""What became of one event: how far it is, and for each durable subscription where its delivery stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

import redis

from hub.errors import ErrorCode, IntegrationError
from hub.events import messages, stream, subscriptions
from hub.events.models import Delivery, Event, OutboxEvent
from hub.events.roster import Roster
from hub.redis_client import client


@dataclass(frozen=True, kw_only=True, slots=True)
class Stand:
    """Where the delivery to one subscription stands; `event_id` differs from what was asked for after a correction."""

    subscription: str
    state: str
    target: str
    event_id: str
    status: str
    attempts: int
    due_at: datetime
    finished_at: datetime | None
    error_code: str
    error: str
    dead_letter: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Whereabouts:
    """How far an event is, in words, and who has it; `without` names subscriptions that match its topic and are not to get it."""

    event_id: str
    how_far: str
    topic: str = ""
    trace_id: str = ""
    deliveries: list[Stand] = field(default_factory=list)
    without: list[str] = field(default_factory=list)


def of(event_id: str) -> Whereabouts:
    """Return what became of an event.

    Errors: E11104 no id of an event, E11920 nothing is known of it, E11140 only Redis could tell and it is away.
    """
    messages.check_id(event_id)
    event = Event.objects.filter(event_id=event_id).first()
    return _stored(event) if event else Whereabouts(event_id=event_id, how_far=_on_its_way(event_id))


def _stored(event: Event) -> Whereabouts:
    rows = Delivery.objects.select_related("subscription", "event", "dead_letter")
    own, corrected = rows.filter(event=event), rows.filter(dead_letter__event=event).exclude(event=event)
    stands = sorted((_stand(row) for row in chain(own, corrected)), key=lambda one: one.subscription)
    roster = Roster()
    roster.refresh()
    without = {one.name for one in roster.of_topic(event.topic)} - {one.subscription for one in stands}
    return Whereabouts(
        event_id=event.event_id,
        how_far="taken over; those without it were made, or changed to match, after it was published" if without else "taken over",
        topic=event.topic,
        trace_id=event.trace_id,
        deliveries=stands,
        without=sorted(without),
    )


def _stand(row: Delivery) -> Stand:
    letter = getattr(row, "dead_letter", None)
    return Stand(
        subscription=row.subscription.name,
        state=subscriptions.state_of(row.subscription),
        target=row.subscription.target,
        event_id=row.event.event_id,
        status=row.status,
        attempts=row.attempts,
        due_at=row.due_at,
        finished_at=row.finished_at,
        error_code=row.error_code,
        error=row.error,
        dead_letter=letter.pk if letter else None,
    )


def _on_its_way(event_id: str) -> str:
    if OutboxEvent.objects.filter(event_id=event_id).exists():
        return "committed, and not in the stream yet: Redis did not take it, or its publisher died; the relay sends it"
    try:
        is_published = client().exists(stream.id_key(event_id))
    except redis.RedisError as exc:
        raise IntegrationError(ErrorCode.EVENT_STORE_UNAVAILABLE, f"Redis does not answer: {type(exc).__name__}") from exc
    if is_published:
        return "published, and not stored: the relay has not taken it over yet, or no durable subscription matches its topic"
    raise IntegrationError(
        ErrorCode.NOT_FOUND,
        f"nothing is known of an event {event_id}",
        recovery_suggestion="of what no durable subscription wanted only the topic is kept: see `manage.py events orphans`",
    )
