"""What lies in the broker's queues, also in those that nobody reads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from prometheus_client import Metric as Family

from hub.celery import QUEUES
from hub.redis_client import client
from hub.telemetry import readers
from hub.telemetry.celery_headers import SENT_AT

BINDINGS = "_kombu.binding."
UNACKED = "unacked"
PRIORITIES, SEPARATOR = (0, 3, 6, 9), "\x06\x16"
"""As kombu's Redis transport has them by default, and the hub's workers with it."""
MAX_QUEUES, MAX_HELD = 500, 2_000
PRIVATE = (".pidbox", "celeryev", ".reply.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """A queue: how many messages wait in it, and for how many seconds the oldest has (None when it does not say)."""

    name: str
    ready: int
    oldest_sec: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """Messages of a queue that workers hold unacknowledged; of those, `scheduled` wait in a worker for their time (ETA)."""

    unacked: int = 0
    scheduled: int = 0


def queues(also: Iterable[str]) -> list[Queue]:
    """Return the queues that were ever declared, and those of `also`, by name; of very many declared ones the first."""
    wanted = set(also)
    room = max(0, MAX_QUEUES - len(wanted))
    return look(sorted({*wanted, *sorted(_declared() - wanted)[:room]}))


def look(names: Sequence[str]) -> list[Queue]:
    """Return these queues as they stand, without those whose keys are no lists."""
    with client().pipeline(transaction=False) as pipe:
        for key in (key for name in names for key in keys_of(name)):
            pipe.llen(key)
            pipe.lindex(key, -1)
        answers: list[Any] = pipe.execute(raise_on_error=False)
    width = 2 * len(PRIORITIES)
    by_queue = (answers[start : start + width] for start in range(0, len(answers), width))
    found = [_queue(name, ready=own[::2], oldest=own[1::2]) for name, own in zip(names, by_queue, strict=True)]
    return [one for one in found if one is not None]


def keys_of(name: str) -> list[str]:
    """Return the lists in which kombu keeps a queue: one for each step of priority, the first under the queue's own name."""
    return [name if not step else f"{name}{SEPARATOR}{step}" for step in PRIORITIES]


def _queue(name: str, *, ready: list[Any], oldest: list[Any]) -> Queue | None:
    if not all(isinstance(number, int) for number in ready):
        return None  # a key of that name is no list
    ages = [age for age in map(_age_sec, oldest) if age is not None]
    return Queue(name=name, ready=sum(ready), oldest_sec=max(ages, default=None))


def unacknowledged() -> int:
    """Return how many messages workers hold that they have not acknowledged."""
    return int(client().hlen(UNACKED))  # type: ignore[arg-type]


def held() -> dict[str, Held]:
    """Return what workers hold of each queue, looked up among the first 2,000 messages they hold."""
    found: dict[str, Held] = {}
    entries: Any = islice(client().hscan_iter(UNACKED, count=500), MAX_HELD)
    for _, text in entries:
        message, queue = _unpacked(text)
        if queue:
            known = found.get(queue, Held())
            found[queue] = Held(unacked=known.unacked + 1, scheduled=known.scheduled + bool((message.get("headers") or {}).get("eta")))
    return found


def _unpacked(text: str) -> tuple[dict[str, Any], str]:
    """Return a held message and its queue, as kombu keeps them: ``[message, exchange, routing key]``."""
    try:
        message, _, queue = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}, ""
    is_known = isinstance(message, dict) and isinstance(message.get("headers") or {}, dict)
    return (message, str(queue)) if is_known else ({}, "")


def _declared() -> set[str]:
    """Return the queues behind the exchanges that kombu wrote down; the last part of a binding is the queue."""
    found: set[str] = set()
    for key in client().scan_iter(match=f"{BINDINGS}*", count=1_000):
        if not any(mark in key for mark in PRIVATE):
            found |= {binding.rpartition("\x06\x16")[2] for binding in client().smembers(key)}  # type: ignore[union-attr]
    return found


def _age_sec(message: Any) -> float | None:
    try:
        sent_at = json.loads(message)["headers"][SENT_AT]
        return max(0.0, time.time() - float(sent_at))
    except (TypeError, ValueError, KeyError, OverflowError, RecursionError):
        return None  # who sends to a queue may write anything


def families() -> list[Family]:
    """Return the queues as metrics: the hub's own, and all that were ever declared or read, also those that nobody reads now."""
    known, held_now = readers.known(), held()
    lines = queues(also={*QUEUES, *held_now, *(name for names in known.queues.values() for name in names)})
    named: dict[str, tuple[str, Mapping[str, float]]] = {
        "hub_queue_messages": ("messages that wait in a queue", {one.name: one.ready for one in lines}),
        "hub_queue_unacked_messages": (
            "messages of a queue that workers hold",
            {one.name: held_now.get(one.name, Held()).unacked for one in lines},
        ),
        "hub_queue_scheduled_messages": (
            "of the held messages, those that wait for their time",
            {one.name: held_now.get(one.name, Held()).scheduled for one in lines},
        ),
        "hub_queue_oldest_message_age_seconds": (
            "how long the oldest message of a queue has waited",
            {one.name: one.oldest_sec for one in lines if one.oldest_sec is not None},
        ),
    }
    if known.asked_sec_ago is not None:  # else nobody knows who reads what
        named["hub_queue_consumers"] = ("workers that read a queue", {one.name: len(known.of(one.name)) for one in lines})
    return [*(_family(name, text, values) for name, (text, values) in named.items()), _unacked()]


def _family(name: str, text: str, values: Mapping[str, float]) -> Family:
    found = Family(name, text, "gauge")
    for queue, value in values.items():
        found.add_sample(name, {"queue": queue}, value)
    return found


def _unacked() -> Family:
    found = Family("hub_broker_unacked_messages", "messages that workers hold unacknowledged", "gauge")
    found.add_sample("hub_broker_unacked_messages", {}, unacknowledged())
    return found
