"""Celery messages written by hand, so that a hundred go to Redis in one round trip.

`app.send_task` declares, subscribes to a result and waits for Redis once per message, which costs several times what
the message does. What lies in the queue is the same (tests compare them); only the announcement that a task was
sent is left out.
"""

from __future__ import annotations

import json
import os
import secrets
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from celery import Signature, signals, uuid
from celery.utils.nodenames import anon_nodename

from hub.celery import app
from hub.redis_client import sender


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskMessage:
    """A task to be sent: what, where, under which id, and which messages follow its success or failure."""

    task: str
    queue: str
    task_id: str
    kwargs: Mapping[str, Any]
    link: Sequence[Mapping[str, Any]] = ()
    link_error: Sequence[Mapping[str, Any]] = ()
    chain: Sequence[Mapping[str, Any]] | None = None
    """What is linked behind it, as Celery carries it: the last one is the next."""
    ignore_result: bool = False
    time_limit: float | None = None
    expires: datetime | None = None
    parent_id: str | None = None
    root_id: str | None = None
    reply_to: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    """What Flower and the events of workers show, instead of the arguments without their secrets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """A message as it will lie in its queue."""

    queue: str
    task: str
    text: str = field(repr=False)
    body: tuple[Any, ...] = field(repr=False)


def family() -> dict[str, Any]:
    """Return of which task those are children that are sent now, as ``send_task`` tells it."""
    if (parent := app.current_worker_task) is None:
        return {}
    request = parent.request
    return {"root_id": request.root_id or request.id, "parent_id": request.id}


def letter(message: TaskMessage) -> Letter:
    """Return `message` as it will lie in the queue, with the current trace in its headers."""
    return _letter(_made(message), message)


def letters(message: TaskMessage, others: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Letter]:
    """Return `message`, and the same once for each other task id with its arguments: Celery makes the first, they are copies."""
    made = _made(message)
    first = _letter(made, message)  # it has the current trace now, and so have its copies
    places = [[name for name, value in held.items() if value == message.task_id] for held in (made.headers, made.properties)]
    return [first, *(_letter(_copy(made, places, task_id, kwargs), message, is_copy=True) for task_id, kwargs in others)]


def _made(message: TaskMessage) -> Any:
    """Return what Celery makes of it: headers, properties and body."""
    made = app.amqp.create_task_message(
        message.task_id,
        message.task,
        (),
        message.kwargs,
        callbacks=list(message.link) or None,
        errbacks=list(message.link_error) or None,
        chain=message.chain,
        reply_to=message.reply_to or app.thread_oid,
        time_limit=message.time_limit,
        expires=message.expires,
        parent_id=message.parent_id,
        root_id=message.root_id,
        argsrepr=message.argsrepr,
        kwargsrepr=message.kwargsrepr,
        origin=_origin(os.getpid()),
        ignore_result=message.ignore_result,
    )
    made.headers.update(message.headers)
    return made


def _copy(made: Any, places: Sequence[Sequence[str]], task_id: str, kwargs: Mapping[str, Any]) -> Any:
    """Return what Celery would make for another id, which goes to these places of headers and properties."""
    args, _, embed = made.body
    in_headers, in_properties = places
    headers = {**made.headers, **dict.fromkeys(in_headers, task_id), "kwargsrepr": app.amqp.shown(kwargs)}
    properties = {**made.properties, **dict.fromkeys(in_properties, task_id)}
    return made._replace(headers=headers, properties=properties, body=(args, kwargs, {**embed}))


def _letter(made: Any, message: TaskMessage, *, is_copy: bool = False) -> Letter:
    signals.before_task_publish.send(
        sender=message.task,
        body=made.body,
        exchange="",
        routing_key=message.queue,
        headers=made.headers,
        properties=made.properties,
        is_copy=is_copy,
    )
    return Letter(queue=message.queue, task=message.task, text=_envelope(made, message.queue), body=made.body)


def chained(links: Sequence[Signature]) -> Letter:
    """Return the first of linked tasks as a message that carries the others, as ``chain(*links).apply_async()`` sends it.

    A link has keyword arguments only, names its queue, and is immutable: it takes nothing from the one before it.
    """
    for link in links:
        link.set(task_id=uuid(), reply_to=app.thread_oid)
    first, *others = links
    return letter(_message(first, chain=others[::-1]))


def following(request: Any) -> Letter:
    """Return the next link of a running task's chain, as Celery sends it when the task has succeeded.

    `request` is the task's own; its `chain` must not be empty.
    """
    *others, link = request.chain
    return letter(_message(link, chain=others, parent_id=request.id, root_id=request.root_id or request.id))


@lru_cache(maxsize=2)
def _origin(pid: int) -> str:
    return str(anon_nodename())


def _message(link: Mapping[str, Any], **family: Any) -> TaskMessage:
    options = link["options"]
    return TaskMessage(
        task=link["task"],
        queue=options["queue"],
        task_id=options["task_id"],
        kwargs=link["kwargs"],
        link=options.get("link") or (),
        link_error=options.get("link_error") or (),
        ignore_result=options.get("ignore_result", False),
        time_limit=options.get("time_limit"),
        reply_to=options.get("reply_to"),
        headers=options.get("headers") or {},
        **family,
    )


def _envelope(made: Any, queue: str) -> str:
    """Return kombu's JSON around a message, as its Redis transport writes it."""
    properties = {
        **made.properties,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": secrets.token_hex(16),
    }
    body = b64encode(_as_json(made.body).encode()).decode()
    headers = {"content-encoding": "utf-8", "content-type": "application/json", "headers": made.headers}
    return _as_json({"body": body, **headers, "properties": properties})


def _encoder() -> Callable[[Any], str]:
    """Return `json.dumps`, which makes an encoder for each text, with one for all."""
    plain, make = json.JSONEncoder(), getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # a Python without it
        return plain.encode
    encode = make(None, plain.default, json.encoder.encode_basestring_ascii, None, ": ", ", ", False, False, True)
    return lambda value: "".join(encode(value, 0))


_as_json = _encoder()


def post(letters: Sequence[Letter]) -> None:
    """Put all letters into their queues in one round trip; `redis.RedisError` leaves open which of them arrived."""
    by_queue: dict[str, list[str]] = defaultdict(list)
    for one in letters:
        by_queue[one.queue].append(one.text)
    for queue in by_queue:
        _declare(queue)
    if len(by_queue) == 1:
        sender().lpush(queue, *by_queue[queue])
    else:
        _post_to_many(by_queue)
    _say_published(letters)


def post_if_noted(letters: Sequence[Letter], *, notes: str, note: str) -> bool:
    """Take a note out of a sorted set and put letters into the one queue that all of them have, in one step; without the note, neither."""
    queue = letters[0].queue
    _declare(queue)
    if not sender().eval(_POST_IF_NOTED, 2, notes, queue, note, *(one.text for one in letters)):
        return False
    _say_published(letters)
    return True


_POST_IF_NOTED = """
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
return redis.call('LPUSH', KEYS[2], unpack(ARGV, 2))
"""


def _say_published(letters: Sequence[Letter]) -> None:
    for one in letters:
        signals.after_task_publish.send(sender=one.task, body=one.body, exchange="", routing_key=one.queue)


def _post_to_many(by_queue: Mapping[str, Sequence[str]]) -> None:
    with sender().pipeline(transaction=False) as pipe:
        for queue, texts in by_queue.items():
            pipe.lpush(queue, *texts)
        pipe.execute()


@cache
def _declare(queue: str) -> None:
    """Make the queue known to the broker once per process, so that it is listed also while nobody reads it."""
    with app.producer_or_acquire() as producer:
        producer.maybe_declare(app.amqp.queues[queue], retry=False)
