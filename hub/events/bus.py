"""Publishing: one round trip to Redis, or a row that goes out with the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.conf import settings
from django.db import connection

from hub.errors import ErrorCode, IntegrationError
from hub.events import causes, messages, outbox, topics, transport
from hub.events.messages import EventMessage, Outgoing
from hub.telemetry import conventions, tracing

MAX_BATCH = 1_000


def publish(event: EventMessage) -> str:
    """Publish `event` and return its id.

    Inside a database transaction it goes out with the commit, and not at all after a rollback. Publishing the same
    event twice within 15 minutes is one event. Errors: E11121 the id was used for another content, E11160 too large,
    E11162 too many a second from one source, E11163 the relay is too far behind, E11183 hop limit, E11140 Redis is
    away and the outcome unknown: publish the same event again; E11902 what is no event.
    """
    _refuse_other(event)
    with tracing.span(f"send {event.topic}", kind="producer", attributes=_attributes(event)):
        ready = prepared(event)
        if connection.in_atomic_block:
            outbox.add(ready)
        else:
            transport.send([ready])
        return ready.event.metadata.event_id


def publish_many(events: Iterable[EventMessage]) -> list[str]:
    """Publish up to 1,000 events in one round trip and return their ids in order; the errors are those of `publish`.

    A refused event raises after the others went out; publishing all of them again repeats none.
    """
    ready = [prepared(event) for event in events]
    if len(ready) > MAX_BATCH:
        raise IntegrationError(ErrorCode.EVENT_TOO_LARGE, f"{len(ready)} events at once, the limit is {MAX_BATCH}")
    if connection.in_atomic_block:
        for one in ready:
            outbox.add(one)
    else:
        transport.send(ready)
    return [one.event.metadata.event_id for one in ready]


def publish_from_outside(event: EventMessage) -> str:
    """Publish what a layer asks for: as `publish`, and E11182 for topics that belong to the hub."""
    _refuse_reserved(event)
    return publish(event)


def publish_many_from_outside(events: Sequence[EventMessage]) -> list[str]:
    """Publish what a layer asks for: as `publish_many`, and E11182 for topics that belong to the hub."""
    for event in events:
        _refuse_reserved(event)
    return publish_many(events)


def _refuse_other(event: object) -> None:
    if not isinstance(event, EventMessage):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"an event must be an EventMessage, not {type(event).__name__}")


def _refuse_reserved(event: EventMessage) -> None:
    _refuse_other(event)
    if topics.is_reserved(event.topic):
        raise IntegrationError(ErrorCode.TOPIC_RESERVED, f"topic {event.topic} belongs to the hub")


def prepared(event: EventMessage) -> Outgoing:
    """Return `event` as it will go out: with its trace, its cause, and checked."""
    _refuse_other(event)
    cause = causes.current()
    if cause is not None:
        event = messages.caused_by(event, cause, max_hops=settings.HUB.event_hop_limit)
    elif event.metadata.hops > settings.HUB.event_hop_limit:
        raise IntegrationError(ErrorCode.EVENT_HOP_LIMIT, f"event on {event.topic} says it is hop {event.metadata.hops}")
    event = messages.traced(event, tracing.traceparent())
    if not event.metadata.correlation_id and (correlation_id := tracing.correlation_id()):
        event = event.with_metadata(correlation_id=correlation_id)
    messages.check(event)
    return Outgoing(event=event, text=messages.encode(event, max_bytes=settings.HUB.event_max_bytes))


def _attributes(event: EventMessage) -> dict[str, object]:
    return {
        conventions.MESSAGING_SYSTEM: "redis",
        conventions.MESSAGING_OPERATION: "send",
        conventions.MESSAGING_OPERATION_TYPE: "send",
        conventions.MESSAGING_DESTINATION: event.topic,
        conventions.EVENT_ID: event.metadata.event_id,
        conventions.EVENT_TYPE: event.event_type,
        conventions.EVENT_SOURCE: event.metadata.source_service,
    }
