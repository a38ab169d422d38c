"""The life of a delivery: claimed, delivered, tried again, held or dead. The row is the truth.

pending -> sending -> delivered
              |-> pending (again later, or held)
              |-> dead -> pending (replayed), discarded, or delivered (answered after all)
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce

from hub.error_codes import ErrorCode
from hub.events import retries, unsent
from hub.events.fingerprints import fingerprint, hint
from hub.events.models import DeadLetter, Delivery, Subscription
from hub.events.retries import MAX_HISTORY, Decision, Next, RetryPolicy
from hub.json_values import storable
from hub.telemetry import metrics
from hub.telemetry.secrets import redactor

Status = Delivery.Status
OPEN = (Status.PENDING, Status.SENDING)
MAX_ERROR = 2_000
GRACE_SEC = 5.0
"""So much longer than the subscriber's time limit the bus waits for its answer, which is a message too."""


def claim(subscription: Subscription, *, now: datetime, limit: int, floor: str, will_send: bool = False) -> list[Delivery]:
    """Take up to `limit` due deliveries, oldest first; nobody else gets them before `timeout_sec` is over.

    Who `will_send` them, by `unsent.send`, gives them back by dying before that.

    In an ordered subscription only the first open delivery of each key is taken, and only up to `floor`: before it,
    nothing can come in any more.
    """
    ids = list(_due(subscription, now=now, floor=floor).values_list("pk", flat=True)[: max(limit, 0)])
    return _claim(subscription, ids, now=now, will_send=will_send)


def claim_next(subscription: Subscription, key: str, *, now: datetime, floor: str) -> list[Delivery]:
    """Take the next delivery of one key of an ordered subscription to send it, if it is due and none before it is open."""
    rows = Delivery.objects.filter(subscription=subscription, key=key, finished_at=None)
    head = rows.order_by("position", "pk").first()
    if head is None or head.status != Status.PENDING or head.due_at > now or head.position > floor:
        return []
    return _claim(subscription, [head.pk], now=now, will_send=True)


def _claim(subscription: Subscription, ids: list[int], *, now: datetime, will_send: bool) -> list[Delivery]:
    if not ids:
        return []
    token, until = unsent.begin(now=now) if will_send else uuid4().hex, now + timedelta(seconds=subscription.timeout_sec + GRACE_SEC)
    wanted = Delivery.objects.filter(pk__in=ids, status=Status.PENDING)
    wanted.update(status=Status.SENDING, claim=token, attempts=F("attempts") + 1, due_at=until)
    claimed = Delivery.objects.filter(claim=token, status=Status.SENDING).select_related("event")
    return list(claimed.order_by("position", "pk"))


def _due(subscription: Subscription, *, now: datetime, floor: str) -> QuerySet[Delivery]:
    due = Delivery.objects.filter(subscription=subscription, status=Status.PENDING, due_at__lte=now, finished_at=None)
    if not subscription.ordering:
        return due.order_by("due_at", "pk")
    same_key = Delivery.objects.filter(subscription=subscription, key=OuterRef("key"), finished_at=None)
    earlier = Q(position__lt=OuterRef("position")) | Q(position=OuterRef("position"), pk__lt=OuterRef("pk"))
    return due.filter(~Exists(same_key.filter(earlier)), position__lte=floor).order_by("due_at", "position", "pk")


def delivered(delivery_ids: Sequence[int], *, now: datetime) -> int:
    """Record that the subscriber has these; returns how many were not delivered yet.

    A late answer to an earlier attempt, or to one that was given up, counts as well: the event was handled.
    """
    with transaction.atomic():
        rows = Delivery.objects.filter(pk__in=list(delivery_ids), status__in=(*OPEN, Status.DEAD))
        count = rows.update(status=Status.DELIVERED, finished_at=now, claim="", error="", error_code="")
        _resolve(DeadLetter.objects.filter(delivery_id__in=list(delivery_ids), delivery__status=Status.DELIVERED), now=now)
        end_hold(Delivery.objects.filter(pk__in=list(delivery_ids)), now=now)
    metrics.increment("hub_event_deliveries_total", count, outcome="delivered")
    return count


def _resolve(letters: QuerySet[DeadLetter], *, now: datetime) -> None:
    letter = DeadLetter.Status
    reason = Case(When(status=letter.OPEN, then=Value("the subscriber answered after all")), default=F("reason"))
    undecided = letters.filter(status__in=(letter.OPEN, letter.REPLAYED))
    undecided.update(status=letter.RESOLVED, last_at=now, decided_at=Coalesce("decided_at", now), reason=reason)


def failed(delivery_id: int, attempt: int, *, error: str, code: ErrorCode | None, now: datetime) -> Next | None:
    """Record that an attempt failed and return what follows; None when that attempt is not the current one any more."""
    rows = Delivery.objects.select_related("subscription", "event").filter(pk=delivery_id, status=Status.SENDING, attempts=attempt)
    row = rows.first()
    if row is None:
        return None
    age_sec = (now - row.created_at).total_seconds()
    jitter = random.random()  # noqa: S311  (no secret)
    decision = retries.after_failure(policy_of(row.subscription), attempts=attempt, age_sec=age_sec, code=code, jitter=jitter)
    # A subscriber may say anything; what a database does not take would stop the relay at this answer for ever.
    failure = Failure(row=row, error=storable(redactor().text(error))[:MAX_ERROR], code=code, now=now)
    if not _end_attempt(failure, decision):
        return None
    if decision.next is not Next.HOLD and row.subscription.held_until is not None:
        end_hold(Delivery.objects.filter(pk=row.pk), now=now)
    metrics.increment("hub_event_deliveries_total", outcome=decision.next.value)
    return decision.next


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A failed attempt of a delivery."""

    row: Delivery
    error: str
    code: ErrorCode | None
    now: datetime

    def history(self) -> list[dict[str, Any]]:
        """Return the failed attempts of the delivery, this one included."""
        record = {"number": self.row.attempts, "at": self.now.isoformat(), "code": str(self.code or ""), "error": self.error}
        return [*self.row.history, record][-MAX_HISTORY:]

    def columns(self) -> dict[str, Any]:
        """Return what every failure leaves in the row."""
        code = str(self.code or ErrorCode.DELIVERY_FAILED)
        return {"error": self.error, "error_code": code, "history": self.history(), "claim": ""}


def _end_attempt(failure: Failure, decision: Decision) -> bool:
    """Move the row on; False when another answer came first."""
    row, now = failure.row, failure.now
    current = Delivery.objects.filter(pk=row.pk, status=Status.SENDING, attempts=row.attempts)
    later = {"status": Status.PENDING, "due_at": now + timedelta(seconds=decision.delay_sec), **failure.columns()}
    if decision.next is Next.RETRY:
        return current.update(**later) == 1
    if decision.next is Next.HOLD:
        return _hold(failure, current, later)
    with transaction.atomic():
        won = current.update(status=Status.DEAD, finished_at=now, **failure.columns()) == 1
        if won:
            bury(failure)
    return won


def _hold(failure: Failure, current: QuerySet[Delivery], later: dict[str, Any]) -> bool:
    """Let the whole subscription wait; nothing was sent, so the attempt is given back and not written down."""
    later = {**later, "history": failure.row.history, "attempts": F("attempts") - 1}
    with transaction.atomic():
        held = {"held_until": later["due_at"], "held_reason": failure.error[:255]}
        Subscription.objects.filter(pk=failure.row.subscription_id).update(**held)
        return current.update(**later) == 1


def end_hold(answered: QuerySet[Delivery], *, now: datetime) -> None:
    """Let subscriptions go on that were tried again after their wait and not held any more."""
    held = Subscription.objects.filter(held_until__lte=now, pk__in=answered.values("subscription"))
    held.update(held_until=None, held_reason="")


def bury(failure: Failure) -> None:
    """Make the dead letter of a delivery, or open its old one again."""
    row, history = failure.row, failure.history()
    codes = [retries.code_named(one["code"]) for one in history]
    values = {
        "status": DeadLetter.Status.OPEN,
        "fingerprint": fingerprint(subscription=row.subscription.name, event_type=row.event.event_type, error=failure.error),
        "error_code": str(codes[-1] or ErrorCode.DELIVERY_EXHAUSTED),
        "error": failure.error,
        "hint": hint([one["error"] for one in history], codes),
        "last_at": failure.now,
    }
    known = DeadLetter.objects.filter(delivery=row)
    if not known.update(deaths=F("deaths") + 1, **values):
        DeadLetter.objects.create(delivery=row, subscription=row.subscription, event=row.event, **values)
    metrics.increment("hub_dead_letters_total", subscription=row.subscription.name)


def policy_of(subscription: Subscription) -> RetryPolicy:
    """Return a subscription's rules for trying again."""
    return RetryPolicy(
        max_attempts=subscription.max_attempts,
        delay_sec=subscription.retry_delay_sec,
        backoff=subscription.retry_backoff,
        max_delay_sec=subscription.retry_max_delay_sec,
        max_age_sec=subscription.max_age_sec,
    )


def release(rows: Sequence[Delivery]) -> None:
    """Give back claimed deliveries that were not begun; it costs them no attempt, and they come first again."""
    _give_back(Delivery.objects.filter(pk__in=[row.pk for row in rows], claim__in={row.claim for row in rows}))


def release_unsent(*, now: datetime) -> None:
    """Give back what was claimed by a process that died, or lost Redis, before it sent it."""
    if lost := unsent.take_lost(now=now):
        _give_back(Delivery.objects.filter(claim__in=lost))


def _give_back(claimed: QuerySet[Delivery]) -> None:
    begun = claimed.filter(status=Status.SENDING)
    begun.update(status=Status.PENDING, claim="", attempts=F("attempts") - 1, due_at=F("created_at"))


def expired(*, now: datetime, limit: int = 500) -> list[Delivery]:
    """Return deliveries that were sent and never answered in time, longest ago first."""
    rows = Delivery.objects.filter(status=Status.SENDING, due_at__lte=now).select_related("subscription", "event")
    return list(rows.order_by("due_at")[:limit])


def extend(rows: Sequence[Delivery], *, now: datetime) -> None:
    """Go on waiting for answers to messages that are still in their queue."""
    for row in rows:
        until = now + timedelta(seconds=row.subscription.timeout_sec + GRACE_SEC)
        Delivery.objects.filter(pk=row.pk, status=Status.SENDING, attempts=row.attempts).update(due_at=until)
