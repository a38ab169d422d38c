"""Dead letters: look, replay one, edit and replay, discard. Every decision carries who made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, Min, QuerySet

from hub import database_clock
from hub.errors import ErrorCode, IntegrationError
from hub.events import messages, subscriptions
from hub.events.messages import EventMessage
from hub.events.models import DeadLetter, Delivery, Event

Status = DeadLetter.Status


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Open dead letters of one cause."""

    fingerprint: str
    subscription: str
    count: int
    first_at: datetime
    last_at: datetime
    sample_id: int
    error: str
    hint: str


def groups(*, limit: int = 100) -> list[Group]:
    """Return the groups of open dead letters, largest first."""
    rows = DeadLetter.objects.filter(status=Status.OPEN).order_by().values("fingerprint")
    figures = rows.annotate(count=Count("id"), first=Min("created_at"), last=Max("last_at"), sample=Min("id"))
    found: list[Any] = list(figures.order_by("-count")[:limit])
    samples = DeadLetter.objects.select_related("subscription").in_bulk([row["sample"] for row in found])
    return [_group(row, samples[row["sample"]]) for row in found if row["sample"] in samples]


def _group(row: dict[str, Any], sample: DeadLetter) -> Group:
    return Group(
        fingerprint=row["fingerprint"],
        subscription=sample.subscription.name,
        count=row["count"],
        first_at=min(row["first"], row["last"]),  # a row is written a moment after the failure that it tells of
        last_at=row["last"],
        sample_id=sample.pk,
        error=sample.error,
        hint=sample.hint,
    )


def of(subscription: str = "", *, status: str = Status.OPEN) -> QuerySet[DeadLetter]:
    """Return the dead letters of a status, those of one subscription if it is named; E11120 when there is none of that name."""
    rows = DeadLetter.objects.filter(status=status).select_related("event", "subscription")
    return rows.filter(subscription=subscriptions.find(subscription)) if subscription else rows


def find(letter_id: int) -> DeadLetter:
    """Return a dead letter with its delivery, event and subscription; E11123 when there is none.

    `event` is what was published, `delivery.event` what was given up: the same, or the copy of the last correction.
    """
    row = DeadLetter.objects.select_related("delivery__event", "event", "subscription", "edited_event").filter(pk=letter_id).first()
    if row is None:
        raise IntegrationError(ErrorCode.DEAD_LETTER_NOT_FOUND, f"there is no dead letter {letter_id}")
    return row


def replay(letter_id: int, *, by: str) -> DeadLetter:
    """Give the event to its subscription again, with all attempts; E11123, E11124 when it is not open any more."""
    letter, now = find(letter_id), database_clock.moment()
    with transaction.atomic():
        _decide(letter, Status.REPLAYED, by=by, now=now)
        _reopen(letter, now=now)
    return find(letter_id)


def edit_and_replay(letter_id: int, payload: Mapping[str, Any], *, by: str) -> DeadLetter:
    """Give the subscription a corrected copy of the event it could not handle; that one is kept and named as its cause.

    Errors: E11123, E11124, and those of a published event for the payload (E11103, E11905, E11160).
    """
    letter, now = find(letter_id), database_clock.moment()
    given_up = letter.delivery.event
    corrected = _corrected(given_up, payload)
    with transaction.atomic():
        _decide(letter, Status.REPLAYED, by=by, now=now)
        event = _store_copy(given_up, corrected)
        DeadLetter.objects.filter(pk=letter.pk).update(edited_event=event)
        Delivery.objects.filter(pk=letter.delivery_id).update(event=event)
        _reopen(letter, now=now)
    return find(letter_id)


def _corrected(event: Event, payload: Mapping[str, Any]) -> EventMessage:
    old = EventMessage.from_wire(event.body)
    new = EventMessage(topic=old.topic, event_type=old.event_type, payload=payload, metadata=old.metadata)
    new = messages.check(new).with_metadata(event_id=uuid4().hex, causation_id=event.event_id)
    messages.encode(new, max_bytes=settings.HUB.event_max_bytes)
    return new


def _store_copy(old: Event, new: EventMessage) -> Event:
    return Event.objects.create(
        event_id=new.metadata.event_id,
        topic=old.topic,
        event_type=old.event_type,
        source=old.source,
        trace_id=old.trace_id,
        correlation_id=old.correlation_id,
        causation_id=old.event_id,
        hops=old.hops,
        position=old.position,
        body=new.to_wire(),
        time=old.time,
    )


def discard(letter_id: int, *, reason: str, by: str) -> DeadLetter:
    """Give the event up for good; E11901 without a reason, E11123, E11124 when it is not open any more."""
    if not reason.strip():
        raise IntegrationError(ErrorCode.ARGUMENT_MISSING, "discarding needs a reason")
    letter, now = find(letter_id), database_clock.moment()
    with transaction.atomic():
        _decide(letter, Status.DISCARDED, by=by, now=now, reason=reason)
        dead = Delivery.objects.filter(pk=letter.delivery_id, status=Delivery.Status.DEAD)
        dead.update(status=Delivery.Status.DISCARDED, finished_at=now)
    return find(letter_id)


def _decide(letter: DeadLetter, status: str, *, by: str, now: datetime, reason: str = "") -> None:
    """Move a letter out of the open ones; of two people who decide at once, one is told that it is done."""
    still_open = DeadLetter.objects.filter(pk=letter.pk, status=Status.OPEN)
    if still_open.update(status=status, decided_by=by[:150], decided_at=now, reason=reason[:500]) == 0:
        raise IntegrationError(ErrorCode.DEAD_LETTER_ALREADY_REPLAYED, f"dead letter {letter.pk} is {find(letter.pk).status} already")


def _reopen(letter: DeadLetter, *, now: datetime) -> None:
    dead = Delivery.objects.filter(pk=letter.delivery_id, status=Delivery.Status.DEAD)
    dead.update(status=Delivery.Status.PENDING, attempts=0, due_at=now, created_at=now, finished_at=None, error="", error_code="")
