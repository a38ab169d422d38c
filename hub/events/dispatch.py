"""Send claimed deliveries to where their subscription wants them."""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import redis
from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from hub import broker, database_clock
from hub.broker import Letter, TaskMessage
from hub.celery import EVENTS, PUBLIC
from hub.errors import ErrorCode, IntegrationError
from hub.events import answers, causes, deliveries, handlers, messages, stream, unsent
from hub.events.messages import CONTENT_TYPE
from hub.events.models import Delivery, Subscription
from hub.redis_client import client
from hub.telemetry import conventions, tracing

log = logging.getLogger(__name__)
BATCH = 100
SENDING_SEC = 2.0
SCANNED_MESSAGES = 1_000
WRONG_KIND = "WRONGTYPE"
"""What Redis says of a name under which it keeps no list."""


def send_due(*, now: datetime, floor: str) -> int:
    """Send what is due for two seconds, at most 100 of each subscription, and return how many were sent.

    What is left, a round later: a claim counts from `now`, and must not be half over when it is sent.
    """
    ready, sent, begun = _with_due(now), 0, time.monotonic()
    random.shuffle(ready)  # or those behind the busy ones would never have their turn
    for subscription in ready:
        sent += send_subscription(subscription, now=now, floor=floor)
        if time.monotonic() - begun >= SENDING_SEC:
            break
    return sent


def _with_due(now: datetime) -> list[Subscription]:
    # Each looks at what is open only: what was delivered before must not make a round slower.
    unfinished = Delivery.objects.filter(subscription=OuterRef("pk"), finished_at=None)
    due = unfinished.filter(status=Delivery.Status.PENDING, due_at__lte=now)
    under_way = unfinished.filter(status=Delivery.Status.SENDING).order_by().values("subscription").annotate(number=Count("pk"))
    ready = Subscription.objects.filter(Q(held_until=None) | Q(held_until__lte=now), Exists(due), paused=False)
    found = ready.annotate(under_way=Coalesce(Subquery(under_way.values("number")), 0))
    return [one for one in found if is_pushed(one) and one.under_way < most_under_way(one)]


def most_under_way(subscription: Subscription) -> int:
    """Return how many may be sent and not answered: one while it is held, to see whether its service is back."""
    return subscription.max_in_flight if subscription.held_until is None else 1


def is_pushed(subscription: Subscription) -> bool:
    """Tell whether the relay sends: what a process subscribed to with a function of its own, it fetches itself."""
    return subscription.kind != Subscription.Kind.HANDLER or handlers.is_known(subscription.handler)


def send_subscription(subscription: Subscription, *, now: datetime, floor: str) -> int:
    """Claim and send what one subscription has due, and return how many were sent."""
    free = most_under_way(subscription) - subscription.under_way  # type: ignore[attr-defined]  # annotated above
    return _send_all(subscription, deliveries.claim(subscription, now=now, limit=min(BATCH, free), floor=floor, will_send=True))


def _send_all(subscription: Subscription, claimed: Sequence[Delivery]) -> int:
    """Send claimed deliveries in one round trip; of those that did not arrive the note of their claim tells."""
    if not claimed:
        return 0
    letters = [letter for row in claimed if (letter := _readable(subscription, row)) is not None]
    try:
        return len(letters) if unsent.send(claimed[0].claim, letters) else 0
    except redis.ResponseError as exc:
        if WRONG_KIND not in str(exc):
            raise
        _no_queue(subscription, claimed)  # or it would come first in each round, and those behind it would never be sent
    return 0


def _no_queue(subscription: Subscription, claimed: Sequence[Delivery]) -> None:
    """Fail what cannot lie in its queue, whatever is tried, because Redis has something else under that name."""
    code = ErrorCode.DELIVERY_TARGET_INVALID
    error = f"{code}: {subscription.queue!r} is no queue, Redis keeps something else under this name (give the subscription another queue)"
    for row in claimed:
        deliveries.failed(row.pk, row.attempts, error=error, code=code, now=database_clock.moment())


def _readable(subscription: Subscription, row: Delivery) -> Letter | None:
    """Return a claimed delivery as a message; an event that another version stored and this one cannot send is a failure of its own."""
    try:
        return _letter(subscription, row)
    except Exception as exc:
        # Whatever is wrong with one event: the relay would begin again with it, and nobody would get any.
        code = exc.code if isinstance(exc, IntegrationError) else None
        log.warning("an event cannot be sent", extra={"delivery": row.pk, "error": type(exc).__name__})
        deliveries.failed(row.pk, row.attempts, error=answers.describe(exc), code=code, now=database_clock.moment())
        return None


def _letter(subscription: Subscription, row: Delivery) -> Letter:
    """Return one claimed delivery as a Celery message; its answer comes back as another."""
    event = messages.to_deliver(row.event.body)
    attributes = {
        conventions.MESSAGING_DESTINATION: event.topic,
        conventions.SUBSCRIPTION: subscription.name,
        conventions.DELIVERY_ATTEMPT: row.attempts,
    }
    traceparent = event.metadata.traceparent or None
    with causes.handling(event), tracing.span(f"deliver {event.topic}", kind="producer", attributes=attributes, traceparent=traceparent):
        return broker.letter(_message(subscription, row))


def _message(subscription: Subscription, row: Delivery) -> TaskMessage:
    if subscription.kind == Subscription.Kind.HANDLER:
        kwargs = {"delivery_id": row.pk, "attempt": row.attempts}
        return TaskMessage(
            task="hub.events.deliver",
            queue=EVENTS,
            task_id=message_id(row),
            kwargs=kwargs,
            ignore_result=True,
            # As long as the claim: a handler that hangs would otherwise hold a worker's process for ever, at each attempt another.
            time_limit=subscription.timeout_sec + deliveries.GRACE_SEC,
            kwargsrepr=repr(kwargs),
        )
    task, queue, kwargs = subscription.task, subscription.queue, {"event": row.event.body}
    if subscription.kind == Subscription.Kind.HTTP:
        task, queue, kwargs = "hub.requests.route", PUBLIC, _request(subscription, row)
    return TaskMessage(
        task=task,
        queue=queue,
        task_id=message_id(row),
        kwargs=kwargs,
        link=(answers.on_success(row),),
        link_error=(answers.on_failure(row),),
        kwargsrepr=f"{{'event': {row.event.event_id!r}}}",
    )


def _request(subscription: Subscription, row: Delivery) -> dict[str, Any]:
    return {
        "service_name": subscription.service_name,
        "method": subscription.method,
        "path": subscription.path,
        "data": row.event.body,
        "headers": {"Content-Type": CONTENT_TYPE},
        "timeout": min(subscription.timeout_sec, settings.HUB.request_max_timeout_sec),
        "idempotency_key": _request_key(subscription, row),
    }


def _request_key(subscription: Subscription, row: Delivery) -> str:
    """Return what is the same at every attempt, so that the service can tell a repetition.

    A corrected event or a mended route is another request, and would be refused under the old key (E11321). So is what was
    delivered and is asked for again: under the old key the hub itself would give the answer that it kept.
    """
    request = "\n".join([row.event.event_id, subscription.service_name, subscription.method, subscription.path])
    if row.repetition:
        request += f"\n{row.repetition}"
    return f"event:{row.pk}:{hashlib.blake2b(request.encode(), digest_size=8).hexdigest()}"


def message_id(row: Delivery) -> str:
    """Return the id of the message of a claimed delivery's current attempt."""
    return f"{row.claim}-{row.pk}"


def give_up_waiting(*, now: datetime) -> None:
    """Look at deliveries that nobody answered in time: those still in their queue wait on, the others failed.

    What was never sent is given back before that, and costs no attempt.
    """
    deliveries.release_unsent(now=now)
    overdue = deliveries.expired(now=now)
    waiting = _still_queued(overdue)
    deliveries.extend(waiting, now=now)
    kept = {row.pk for row in waiting}
    for lost in (row for row in overdue if row.pk not in kept):
        error = f"no answer from {lost.subscription.target} within {lost.subscription.timeout_sec:g} s"
        deliveries.failed(lost.pk, lost.attempts, error=error, code=None, now=now)


def _still_queued(rows: Sequence[Delivery]) -> list[Delivery]:
    """Return those whose message lies unread in its queue: their subscriber is away, not lost.

    A queue longer than 1,000 is taken to hold all of them; the age limit of the subscription ends the waiting.
    """
    by_queue: dict[str, list[Delivery]] = {}
    for row in rows:
        if is_pushed(row.subscription):
            by_queue.setdefault(queue_of(row.subscription), []).append(row)
    found: list[Delivery] = []
    for queue, members in by_queue.items():
        texts = client().lrange(queue, 0, SCANNED_MESSAGES - 1)
        everything = "\n".join(texts) if len(texts) < SCANNED_MESSAGES else None  # type: ignore[arg-type]
        found += [row for row in members if everything is None or message_id(row) in everything]
    return [row for row in found if not _is_too_old(row, now=database_clock.moment())]


def queue_of(subscription: Subscription) -> str:
    """Return the queue in which a subscription's messages wait."""
    if subscription.kind == Subscription.Kind.TASK:
        return subscription.queue
    return PUBLIC if subscription.kind == Subscription.Kind.HTTP else EVENTS


def _is_too_old(row: Delivery, *, now: datetime) -> bool:
    return (now - row.created_at).total_seconds() >= row.subscription.max_age_sec


def run_handler(delivery_id: int, attempt: int) -> None:
    """Call the handler of a delivery in this worker; does nothing when that attempt is not the current one any more."""
    row = (
        Delivery.objects.select_related("subscription", "event")
        .filter(pk=delivery_id, attempts=attempt, status=Delivery.Status.SENDING)
        .first()
    )
    if row is None:
        return
    try:
        event = messages.to_deliver(row.event.body)
        with causes.handling(event):
            handlers.find(row.subscription.handler)(event)
    except Exception as exc:
        # Whatever a handler raises is an answer: it decides between another attempt and the dead letters.
        log.warning("an event handler failed", extra={"delivery": delivery_id, "error": type(exc).__name__})
        answer_failed(delivery_id, attempt, error=answers.describe(exc), code=exc.code if isinstance(exc, IntegrationError) else None)
    else:
        answer_delivered(delivery_id)


def answer_delivered(delivery_id: int) -> None:
    """Record a delivery's success and send what waited for it."""
    deliveries.delivered([delivery_id], now=database_clock.moment())
    _send_next(delivery_id)


def answer_failed(delivery_id: int, attempt: int, *, error: str, code: ErrorCode | None) -> None:
    """Record a failed attempt and send what may come next."""
    if deliveries.failed(delivery_id, attempt, error=error, code=code, now=database_clock.moment()) is not None:
        _send_next(delivery_id)


def _send_next(delivery_id: int) -> None:
    """Send the next of a key in an ordered subscription without waiting for the relay's next round."""
    row = Delivery.objects.select_related("subscription").filter(pk=delivery_id).exclude(subscription__ordering="").first()
    if row is None or row.subscription.paused or row.subscription.held_until is not None or not is_pushed(row.subscription):
        return
    now = database_clock.moment()
    _send_all(row.subscription, deliveries.claim_next(row.subscription, row.key, now=now, floor=stream.taken_over()))
