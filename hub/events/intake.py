"""From the stream to the tables: each event once, one delivery row per subscription that wants it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from hub import prepared
from hub.errors import IntegrationError
from hub.events import messages, positions
from hub.events.messages import EventMessage
from hub.events.models import DeadLetter, Delivery, Event
from hub.events.roster import Roster, Subscriber
from hub.telemetry import metrics

log = logging.getLogger(__name__)

Entry = tuple[str, dict[str, str]]
"""What Redis gives: the entry's id, and its fields."""
MOST_DELIVERIES = 5_000
"""So many rows one transaction writes, or those of one event: more would hold SQLite's only lock, or outlast the time that
the database has for an answer, for ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """One event of the stream, where it stood, and who wants it."""

    event: EventMessage
    position: str
    subscribers: list[Subscriber] = field(default_factory=list)


def take(entries: Iterable[Entry], roster: Roster, *, now: datetime) -> tuple[int, list[Taken]]:
    """Store what is wanted of the first of `entries`, and return how many entries these were, and their events.

    They are all, unless too many subscriptions want them for one transaction. Doing it again changes nothing.
    """
    roster.refresh()
    number, taken = _read_portion(entries, roster)
    with transaction.atomic():
        store([one for one in taken if one.subscribers], now=now)
    metrics.increment("hub_events_relayed_total", len(taken))
    return number, taken


def _read_portion(entries: Iterable[Entry], roster: Roster) -> tuple[int, list[Taken]]:
    number, rows, taken = 0, 0, []
    for entry in entries:
        number += 1
        if (one := _read(entry, roster)) is not None:
            taken.append(one)
            rows += len(one.subscribers)
        if rows >= MOST_DELIVERIES:
            break
    return number, taken


def _read(entry: Entry, roster: Roster) -> Taken | None:
    stream_id, fields = entry
    try:
        event = messages.decode(fields["e"])
    except (KeyError, IntegrationError) as exc:
        # It cannot become an event by waiting, and must not stop those behind it.
        metrics.increment("hub_events_unreadable_total")
        log.error("an entry of the stream is no event", extra={"stream_id": stream_id, "error": type(exc).__name__})
        return None
    position = positions.sortable(stream_id)
    wanted_by = [one for one in roster.of_topic(event.topic) if one.wants(position)]
    return Taken(event=event, position=position, subscribers=wanted_by)


def store(taken: Sequence[Taken], *, now: datetime) -> int:
    """Write events and deliveries that are not there yet; returns how many deliveries were asked for.

    A subscription that has a corrected copy of an event does not get the event itself.
    """
    if not taken:
        return 0
    prepared.insert_missing(Event, [_event_row(one, now) for one in taken])
    ids = dict(Event.objects.filter(event_id__in=[one.event.metadata.event_id for one in taken]).values_list("event_id", "id"))
    edited = _edited(ids.values())
    wanted = [
        _delivery_row(one, subscriber, ids, now)
        for one in taken
        for subscriber in one.subscribers
        if (subscriber.id, ids[one.event.metadata.event_id]) not in edited
    ]
    prepared.insert_missing(Delivery, wanted)
    return len(wanted)


def _edited(event_ids: Iterable[int]) -> set[tuple[int, int]]:
    """Return the subscriptions, each with an event, whose delivery an edit has moved on to a corrected copy."""
    letters = DeadLetter.objects.filter(event__in=list(event_ids), edited_event__isnull=False)
    return set(letters.values_list("subscription_id", "event_id"))


def _event_row(one: Taken, now: datetime) -> dict[str, object]:
    meta = one.event.metadata
    return {
        "event_id": meta.event_id,
        "topic": one.event.topic,
        "event_type": one.event.event_type,
        "source": meta.source_service,
        "trace_id": meta.trace_id,
        "correlation_id": meta.correlation_id,
        "causation_id": meta.causation_id,
        "hops": meta.hops,
        "position": one.position,
        "body": one.event.to_wire(),
        "time": meta.timestamp,
        "created_at": now,
    }


def _delivery_row(one: Taken, subscriber: Subscriber, ids: dict[str, int], now: datetime) -> dict[str, object]:
    return {
        "subscription_id": subscriber.id,
        "event_id": ids[one.event.metadata.event_id],
        "status": Delivery.Status.PENDING.value,
        "attempts": 0,
        "due_at": now,
        "claim": "",
        "key": subscriber.key_of(one.event),
        "position": one.position,
        "error_code": "",
        "error": "",
        "history": [],
        "created_at": now,
    }
