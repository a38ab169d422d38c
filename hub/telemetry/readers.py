"""Who reads which queue: asked of all workers on the broker every few seconds, those of the layers included.

Asking costs a second's wait, so a task does it and the pages read what it wrote. A worker that did not answer lately
still counts for a while: one that is busy starting or stopping children may miss one question.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hub.celery import app
from hub.redis_client import client

KEY, ASKED_KEY, LAST_READ_KEY = "hub:console:readers", "hub:console:readers:asked_at", "hub:console:readers:last_read"
ASK_TIMEOUT_SEC = 1.0
STILL_COUNTS_SEC = 50.0
REMEMBERED_SEC = 30 * 86_400.0
"""So long it is known when a queue was last read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Readers:
    """The queues of each worker, and how many seconds ago that was asked; None: never, or too long ago to believe.

    `last_read` says of each queue when somebody was last seen to read it, in seconds since 1970.
    """

    queues: dict[str, list[str]]
    asked_sec_ago: float | None
    last_read: dict[str, float] = field(default_factory=dict)

    def of(self, queue: str) -> list[str]:
        """Return the workers that read a queue."""
        return sorted(worker for worker, names in self.queues.items() if queue in names)


def ask() -> None:
    """Ask all workers which queues they read, and write their answers down."""
    answers: dict[str, list[dict[str, Any]]] = app.control.inspect(timeout=ASK_TIMEOUT_SEC).active_queues() or {}
    now = _now()
    said = {worker: json.dumps({"at": now, "queues": [queue["name"] for queue in queues]}) for worker, queues in answers.items()}
    gone = [worker for worker, text in _all().items() if worker not in said and now - json.loads(text)["at"] > STILL_COUNTS_SEC]
    read = {queue["name"]: now for queues in answers.values() for queue in queues}
    forgotten = [queue for queue, at in _last_read().items() if now - at > REMEMBERED_SEC]
    with client().pipeline() as pipe:
        if said:
            pipe.hset(KEY, mapping=said)
            pipe.hset(LAST_READ_KEY, mapping=read)
        if forgotten:
            pipe.hdel(LAST_READ_KEY, *forgotten)
        if gone:
            pipe.hdel(KEY, *gone)
        pipe.set(ASKED_KEY, now, ex=int(STILL_COUNTS_SEC))
        pipe.execute()


def known() -> Readers:
    """Return what the workers said last; `redis.RedisError` while Redis is away."""
    now, asked_at = _now(), client().get(ASKED_KEY)
    if asked_at is None:
        return Readers(queues={}, asked_sec_ago=None, last_read=_last_read())
    said = {worker: json.loads(text) for worker, text in _all().items()}
    fresh = {worker: one["queues"] for worker, one in said.items() if now - one["at"] <= STILL_COUNTS_SEC}
    return Readers(queues=fresh, asked_sec_ago=max(0.0, now - float(str(asked_at))), last_read=_last_read())


def _last_read() -> dict[str, float]:
    found: Any = client().hgetall(LAST_READ_KEY)
    return {queue: float(at) for queue, at in found.items()}


def _all() -> dict[str, str]:
    found: Any = client().hgetall(KEY)
    return dict(found)


def _now() -> float:
    """Return Redis' time: the processes that write and read here share no other clock."""
    seconds, micros = client().time()  # type: ignore[misc]
    return float(seconds) + float(micros) / 1e6
