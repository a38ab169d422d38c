"""What lies in the broker's queues, also in those that nobody reads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from prometheus_client import Metric as Family

from hub.redis_client import client
from hub.telemetry.celery_headers import SENT_AT

BINDINGS = "_kombu.binding."
UNACKED = "unacked"
MAX_QUEUES = 500
PRIVATE = (".pidbox", "celeryev", ".reply.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """A queue: how many messages wait in it, and for how many seconds the oldest has (None when it does not say)."""

    name: str
    ready: int
    oldest_sec: float | None = None


def queues(also: Iterable[str] = ()) -> list[Queue]:
    """Return the queues that were ever declared, and those of `also`, by name."""
    names = sorted({*_declared(), *also})[:MAX_QUEUES]
    with client().pipeline(transaction=False) as pipe:
        for name in names:
            pipe.llen(name)
            pipe.lindex(name, -1)
        answers: list[Any] = pipe.execute(raise_on_error=False)
    pairs = zip(names, answers[::2], answers[1::2], strict=True)
    return [Queue(name=name, ready=ready, oldest_sec=_age_sec(oldest)) for name, ready, oldest in pairs if isinstance(ready, int)]


def unacknowledged() -> int:
    """Return how many messages workers hold that they have not acknowledged."""
    return int(client().hlen(UNACKED))  # type: ignore[arg-type]


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
    except (TypeError, ValueError, KeyError):
        return None


def families() -> list[Family]:
    """Return the queues as metrics."""
    messages = Family("hub_queue_messages", "messages that wait in a queue", "gauge")
    oldest = Family("hub_queue_oldest_message_age_seconds", "how long the oldest message of a queue has waited", "gauge")
    for queue in queues():
        messages.add_sample("hub_queue_messages", {"queue": queue.name}, queue.ready)
        if queue.oldest_sec is not None:
            oldest.add_sample("hub_queue_oldest_message_age_seconds", {"queue": queue.name}, queue.oldest_sec)
    unacked = Family("hub_broker_unacked_messages", "messages that workers hold unacknowledged", "gauge")
    unacked.add_sample("hub_broker_unacked_messages", {}, unacknowledged())
    return [messages, oldest, unacked]
