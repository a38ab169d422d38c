"""Answers to deliveries: messages that a subscriber's success or failure leaves in a reply queue, which the relay reads.

They are Celery messages, because a layer's worker sends them, but no worker reads them: the relay takes hundreds at
once. An answer is removed after it was recorded, so that a relay that dies in between loses none.
"""

from __future__ import annotations

import json
import logging
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis
from celery import Signature, signature
from celery.result import AsyncResult
from kombu import compression, serialization

from hub.celery import app
from hub.errors import IntegrationError
from hub.events import deliveries, retries
from hub.events.models import Delivery
from hub.redis_client import client
from hub.telemetry import metrics

log = logging.getLogger(__name__)
QUEUE = "hub.reply.events"
DELIVERED, FAILED = "hub.events.delivered", "hub.events.failed"
BATCH = 500
MAX_NUMBER = 2**63 - 1
UNKNOWN = "the subscriber's task failed; its error is not in the hub's result backend"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What became of one attempt; `task_id` names the message that failed, and is empty after a success.

    `identity` says what the delivery was: a database that was restored gives its number to another. None of those sent
    by a version that did not say.
    """

    delivery_id: int
    attempt: int
    task_id: str = ""
    identity: str | None = None


def on_success(row: Delivery) -> Signature:
    """Return the message by which a subscriber's success comes back."""
    return _reply(DELIVERED, row, immutable=True)


def on_failure(row: Delivery) -> Signature:
    """Return the message by which a subscriber's failure comes back; Celery adds the id of the task that failed."""
    return _reply(FAILED, row)


def _reply(task: str, row: Delivery, *, immutable: bool = False) -> Signature:
    kwargs = {"delivery_id": row.pk, "attempt": row.attempts, "identity": _identity(row.subscription_id, row.position)}
    return signature(task, kwargs=kwargs, immutable=immutable, queue=QUEUE, ignore_result=True)


def _identity(subscription_id: int, position: str) -> str:
    return f"{subscription_id}:{position}"


def take(*, now: datetime) -> int:
    """Record up to 500 answers, oldest first, and return how many there were; recording one twice changes nothing."""
    found: Any = client().lrange(QUEUE, -BATCH, -1)
    if found:
        _record(_of_these_rows([answer for text in reversed(found) if (answer := _read(text)) is not None]), now=now)
        _remove(found)
    return len(found)


def _of_these_rows(answers: Sequence[Answer]) -> list[Answer]:
    """Leave out answers to deliveries of which the database, since it was restored, knows nothing but the number."""
    rows = Delivery.objects.filter(pk__in=[one.delivery_id for one in answers]).values_list("pk", "subscription_id", "position")
    known = {pk: _identity(subscription_id, position) for pk, subscription_id, position in rows}
    return [one for one in answers if one.identity in (None, known.get(one.delivery_id))]


def _record(answers: Sequence[Answer], *, now: datetime) -> None:
    good = [one.delivery_id for one in answers if not one.task_id]
    if good:
        deliveries.delivered(good, now=now)
    for one in answers:
        if one.task_id:
            error = error_of(one.task_id)
            deliveries.failed(one.delivery_id, one.attempt, error=error, code=retries.code_in(error), now=now)


def _remove(texts: Sequence[str]) -> None:
    """Take these very answers out, from the old end: meanwhile others may have come, or another relay taken some."""
    with client().pipeline(transaction=False) as pipe:
        for text in reversed(texts):
            pipe.lrem(QUEUE, -1, text)
        pipe.execute()


def _read(text: str) -> Answer | None:
    try:
        message = json.loads(text)
        args, kwargs, _ = _body(message)
        task_id = str(args[0]) if message["headers"]["task"] == FAILED else ""
        numbers = {name: _number(kwargs[name]) for name in ("delivery_id", "attempt")}
        return Answer(**numbers, task_id=task_id, identity=kwargs.get("identity"))
    except Exception as exc:
        # Whatever it is, it cannot become an answer by waiting, and must not stop those behind it; the delivery's lease decides.
        metrics.increment("hub_event_answers_unreadable_total")
        log.warning("a message in the reply queue is no answer", extra={"error": type(exc).__name__})
        return None


def _number(value: Any) -> int:
    """Return a number that a column holds."""
    number = int(value)
    if not 0 <= number <= MAX_NUMBER:
        raise ValueError("no number of a row")
    return number


def _body(message: dict[str, Any]) -> Any:
    """Return the body of a message as any Celery client may have sent it; JSON only."""
    body: Any = message["body"]
    if message["properties"].get("body_encoding") == "base64":
        body = b64decode(body)
    if packed := message["headers"].get("compression"):
        body = compression.decompress(body, packed)
    return serialization.loads(body, message["content-type"], message["content-encoding"], accept={"application/json"})


def error_of(task_id: str) -> str:
    """Return the error of a failed message as text; layers that keep no results, or in a form of their own, leave none."""
    result = AsyncResult(task_id, app=app)
    try:
        found = result.result
    except redis.RedisError:
        raise
    except Exception as exc:
        log.warning("a subscriber's error cannot be read", extra={"task_id": task_id, "error": type(exc).__name__})
        found = None
    # The answer is here; the payload that may be in it need not lie in Redis for another hour.
    result.forget()
    if isinstance(found, IntegrationError):
        return str(found)
    return describe(found) if isinstance(found, BaseException) else UNKNOWN


def describe(exc: BaseException) -> str:
    """Return an exception as the text that is kept: its type and its message."""
    return f"{type(exc).__name__}: {exc}"
