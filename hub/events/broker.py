"""Celery messages written by hand, so that a hundred go to Redis in one round trip.

`app.send_task` declares, subscribes to a result and waits for Redis once per message, which costs several times what
the message does. What lies in the queue is the same (a test compares them); only the announcement that a task was
sent is left out.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import uuid4

from celery import Signature, signals

from hub.celery import app
from hub.redis_client import client


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskMessage:
    """A task to be sent: what, where, under which id, and which messages follow its success or failure."""

    task: str
    queue: str
    task_id: str
    kwargs: Mapping[str, Any]
    link: tuple[Signature, ...] = ()
    link_error: tuple[Signature, ...] = ()
    ignore_result: bool = False
    kwargsrepr: str = "{}"
    """What Flower and the events of workers show: the payload stays out of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """A message as it will lie in its queue."""

    queue: str
    text: str = field(repr=False)


def letter(message: TaskMessage) -> Letter:
    """Return `message` as it will lie in the queue, with the current trace in its headers."""
    made = app.amqp.create_task_message(
        message.task_id,
        message.task,
        (),
        message.kwargs,
        callbacks=list(message.link) or None,
        errbacks=list(message.link_error) or None,
        reply_to=app.thread_oid,
        argsrepr="()",
        kwargsrepr=message.kwargsrepr,
        ignore_result=message.ignore_result,
    )
    signals.before_task_publish.send(
        sender=message.task, body=made.body, exchange="", routing_key=message.queue, headers=made.headers, properties=made.properties
    )
    return Letter(queue=message.queue, text=_envelope(made, message.queue))


def _envelope(made: Any, queue: str) -> str:
    """Return kombu's JSON around a message, as its Redis transport writes it."""
    properties = {
        **made.properties,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": str(uuid4()),
    }
    body = b64encode(json.dumps(made.body).encode()).decode()
    headers = {"content-encoding": "utf-8", "content-type": "application/json", "headers": made.headers}
    return json.dumps({"body": body, **headers, "properties": properties})


def post(letters: Sequence[Letter]) -> None:
    """Put all letters into their queues in one round trip; `redis.RedisError` leaves open which of them arrived."""
    by_queue: dict[str, list[str]] = defaultdict(list)
    for one in letters:
        by_queue[one.queue].append(one.text)
    with client().pipeline(transaction=False) as pipe:
        for queue, texts in by_queue.items():
            _declare(queue)
            pipe.lpush(queue, *texts)
        pipe.execute()


@cache
def _declare(queue: str) -> None:
    """Make the queue known to the broker once per process, so that it is listed also while nobody reads it."""
    with app.producer_or_acquire() as producer:
        producer.maybe_declare(app.amqp.queues[queue], retry=False)
