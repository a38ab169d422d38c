"""Durable subscriptions: make, change, pause, remove, and ask who would get what."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import redis
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from hub import pruning
from hub.errors import ErrorCode, IntegrationError
from hub.events import positions, stream, targets, topics
from hub.events.models import Delivery, Subscription, Topic
from hub.events.roster import Roster
from hub.events.targets import HandlerTarget, HttpTarget, Target, TaskTarget
from hub.redis_client import client

MAX_NAME = 128
LIMITS: dict[str, tuple[float, float]] = {
    "max_attempts": (1, 100),
    "retry_delay_sec": (0.01, 3_600),
    "retry_backoff": (1, 10),
    "retry_max_delay_sec": (0.01, 86_400),
    "timeout_sec": (0.5, 86_400),
    "max_in_flight": (1, 10_000),
    "max_age_sec": (1, 90 * 86_400),
}
WHOLE = frozenset({"max_attempts", "max_in_flight"})
MAX_ORDERING_KEY = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How a subscription delivers: tries, waits (seconds), how much at once, and what is kept in order."""

    max_attempts: int = 5
    retry_delay_sec: float = 1
    retry_backoff: float = 2
    retry_max_delay_sec: float = 300
    timeout_sec: float = 60
    max_in_flight: int = 100
    max_age_sec: float = 7 * 86_400
    ordering: str = ""
    ordering_key: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Audience:
    """Who would get an event on a topic: durable subscriptions by name, and the number of live ones in the fleet."""

    topic: str
    durable: list[str] = field(default_factory=list)
    live: int = 0


def subscribe(name: str, pattern: str, target: Target, *, policy: Policy | None = None, everything: bool = False) -> Subscription:
    """Make a durable subscription, or change the one of this name, and return it.

    Events published after this returns are delivered, whether the subscriber is there or not. A pattern that matches
    every topic needs `everything`. Without a `policy`, a new one gets the defaults and a known one keeps its own.
    Errors: E11105 pattern, E11106 target, E11161 too many, E11164 too broad,
    E11908 name, E11902 policy.
    """
    check(name, pattern, target, policy or Policy(), everything=everything)
    values = {"pattern": pattern, **_columns(target), **(asdict(policy) if policy else {})}
    return _update(name, values) or _create(name, values)


def check(name: str, pattern: str, target: Target, policy: Policy, *, everything: bool = False) -> None:
    """Refuse what `subscribe` refuses, and change nothing."""
    topics.check_pattern(pattern)
    if topics.is_everything(pattern) and not everything:
        raise IntegrationError(ErrorCode.PATTERN_TOO_BROAD, f"pattern {pattern!r} matches every topic")
    _check_name(name)
    _check_policy(policy)
    targets.check_target(target)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise IntegrationError(ErrorCode.IDENTIFIER_MALFORMED, f"subscription name {str(name)[:80]!r} is malformed")


def _check_policy(policy: Policy) -> None:
    for name, (low, high) in LIMITS.items():
        value = getattr(policy, name)
        kind = int if name in WHOLE else int | float
        if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
            what = "a whole number from" if name in WHOLE else "from"
            raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"{name} must be {what} {low:g} to {high:g}, not {ascii(value)[:40]}")
    if policy.ordering not in Subscription.Ordering.values or (policy.ordering == "key") != bool(policy.ordering_key):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"ordering {ascii(policy.ordering)[:40]} is not known, or lacks its key")
    key = policy.ordering_key
    if not isinstance(key, str) or len(key) > MAX_ORDERING_KEY or not key.isprintable():
        raise IntegrationError(
            ErrorCode.ARGUMENT_TYPE, f"ordering_key {ascii(key)[:40]} must name a field, in at most {MAX_ORDERING_KEY} characters"
        )


def _columns(target: Target) -> dict[str, str]:
    empty = {"task": "", "queue": "", "service_name": "", "path": "", "handler": ""}
    kinds = {TaskTarget: "task", HttpTarget: "http", HandlerTarget: "handler"}
    return {"kind": kinds[type(target)], **empty, **asdict(target)}


def target_of(subscription: Subscription) -> Target:
    """Return where a subscription delivers to."""
    if subscription.kind == Subscription.Kind.TASK:
        return TaskTarget(task=subscription.task, queue=subscription.queue)
    if subscription.kind == Subscription.Kind.HTTP:
        return HttpTarget(service_name=subscription.service_name, path=subscription.path, method=subscription.method)
    return HandlerTarget(handler=subscription.handler)


def policy_of(subscription: Subscription) -> Policy:
    """Return how a subscription delivers."""
    return Policy(**{name: getattr(subscription, name) for name in Policy.__dataclass_fields__})


def _update(name: str, values: dict[str, Any]) -> Subscription | None:
    row = Subscription.objects.filter(name=name).first()
    # Each start of a saga that waits for an event asks for the same again, and each write makes every relay load all of them.
    if row is not None and any(getattr(row, column) != value for column, value in values.items()):
        for column, value in values.items():
            setattr(row, column, value)
        row.save(update_fields=[*values, "updated_at"])
    return row


def _create(name: str, values: dict[str, Any]) -> Subscription:
    count = Subscription.objects.count()
    if count >= settings.HUB.event_max_subscriptions:
        raise IntegrationError(ErrorCode.TOO_MANY_SUBSCRIPTIONS, f"there are {count} subscriptions, which is the limit")
    position = keep_from_now_on()
    try:
        with transaction.atomic():
            return Subscription.objects.create(name=name, start_position=position, **values)
    except IntegrityError:
        # Two processes made it at once: the other's row is changed to what this one asks for.
        row = _update(name, values)
        if row is None:
            raise
        return row


def keep_from_now_on() -> str:
    """See that publishers give up no event from now on that is unread, and return the position of the stream's last one.

    While nobody was durable nobody was owed what is there: marked as unread, it would make a full stream refuse
    publishers until the relay looks.
    """
    try:
        last = _last_id()
        client().set(stream.READ, last, nx=True)
    except redis.RedisError as exc:
        raise IntegrationError(ErrorCode.EVENT_STORE_UNAVAILABLE, f"Redis does not answer: {type(exc).__name__}") from exc
    return "" if last == positions.START else positions.sortable(last)


def _last_id() -> str:
    try:
        return str(client().xinfo_stream(stream.STREAM)["last-generated-id"])  # type: ignore[index]
    except redis.ResponseError:
        return positions.START  # there is no stream yet: everything in it will be later


def find(name: str) -> Subscription:
    """Return a subscription by name; E11120 when there is none."""
    row = Subscription.objects.filter(name=name).first()
    if row is None:
        raise IntegrationError(ErrorCode.SUBSCRIPTION_NOT_FOUND, f"no durable subscription is named {name[:80]!r}")
    return row


def unsubscribe(name: str) -> None:
    """Remove a subscription with its deliveries and dead letters, also while more are stored; E11120 when there is none."""
    row = find(name)
    pause(name)  # nothing is sent of what is about to go
    pruning.delete(Delivery.objects.filter(subscription=row).order_by("pk"))
    with transaction.atomic():
        # A relay that has just stored a delivery of it waits here for the lock, and takes its batch over again without it.
        Subscription.objects.select_for_update().filter(pk=row.pk).first()
        row.delete()


def pause(name: str) -> None:
    """Stop sending; events are kept until `resume`. E11120 when there is none."""
    find(name)
    Subscription.objects.filter(name=name).update(paused=True)


def resume(name: str) -> None:
    """Go on with everything that was kept; E11120 when there is none."""
    find(name)
    Subscription.objects.filter(name=name).update(paused=False, held_until=None, held_reason="")


def who_would_get(topic: str) -> Audience:
    """Return who would get an event on `topic` now; E11101 when it is no topic.

    The number of live subscriptions is of those to this very topic: Redis does not say which of its patterns match.
    """
    topics.check_topic(topic)
    roster = Roster()
    roster.refresh()
    live = client().pubsub_numsub(stream.LIVE + topic)
    names = sorted(subscriber.name for subscriber in roster.of_topic(topic))
    return Audience(topic=topic, durable=names, live=int(live[0][1]))  # type: ignore[index]


def orphan_topics() -> QuerySet[Topic]:
    """Return topics that events were published on and nobody durable wanted, busiest first."""
    return Topic.objects.filter(unwanted__gt=0).order_by("-unwanted", "name")


def state_of(subscription: Subscription) -> str:
    """Return in words whether a subscription delivers."""
    if subscription.paused:
        return "paused"
    return f"held: {subscription.held_reason}" if subscription.held_until else "active"


def backlog(subscription: Subscription) -> dict[str, int]:
    """Return how many events wait for a subscription and how many are under way."""
    rows = Delivery.objects.filter(subscription=subscription, finished_at=None)
    return {status: rows.filter(status=status).count() for status in (Delivery.Status.PENDING, Delivery.Status.SENDING)}
