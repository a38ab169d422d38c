"""The Celery probe: the queue has a live consumer, it knows the tasks, and the queue moves.

Consumers are asked over the broker, as ``celery inspect`` does: a worker whose main process is dead or stuck does not
answer. All probes of a process share one round of questions for a few seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
from kombu.exceptions import OperationalError

from hub import redis_client
from hub.celery import app
from registry_app.checks import HealthCheck
from registry_app.rules import SILENCE, Finding, Verdict, queue_finding
from registry_app.timing import ROLL_CALL_SEC

ANSWERS_WITHIN_SEC = 1.0
MARK_KEPT_SEC = 86_400
_MARK = "hub:registry:queue_mark"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """What the workers on the broker said: which queues each consumes, which tasks each knows."""

    asked_at: float
    queues: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tasks: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def consumers_of(self, queue: str, node: str) -> list[str]:
        """Return the names of the workers that read a queue: all of them, or the one that is meant."""
        return sorted(one for one, queues in self.queues.items() if queue in queues and node in ("", one))


_asking = threading.Lock()
_fleet = Fleet(asked_at=float("-inf"))


def probe(check: HealthCheck) -> Finding:
    """Judge consumers and tasks; a broker that does not answer is our trouble, not the service's."""
    queue, node = _place_of(check)
    try:
        fleet = _current_fleet()
    except (OperationalError, redis.RedisError, OSError) as exc:
        return Finding(verdict=Verdict.SILENT, reason=f"the hub's own broker does not answer ({type(exc).__name__})")
    consumers = fleet.consumers_of(queue, node)
    if not consumers:
        nobody = f"worker {node} does not consume" if node else "no live worker consumes"
        return Finding(verdict=Verdict.BAD, reason=f"{nobody} the queue {queue}")
    known = frozenset[str]().union(*(fleet.tasks.get(node, frozenset()) for node in consumers))
    missing = [name for name in check.tasks if name not in known]
    if missing:
        return Finding(verdict=Verdict.BAD, reason=f"no consumer of {queue} knows the task {', '.join(missing)[:150]}")
    return Finding(verdict=Verdict.GOOD, reason=f"{len(consumers)} live consumers of {queue}")


def probe_age(check: HealthCheck) -> Finding:
    """Judge how long messages wait in the queue."""
    try:
        length, waited_sec = measure_queue(_place_of(check)[0])
    except redis.RedisError:
        return SILENCE
    return queue_finding(length=length, waited_sec=waited_sec, limit_sec=check.max_message_age_sec)


def measure_queue(queue: str) -> tuple[int, float]:
    """Return how many messages wait, and for how many seconds at least the oldest of them has.

    Celery's messages carry no time. So the newest message is remembered with the time; for as long as it is still
    there, every message before it has waited since then. The time is the server's: probes come from many machines.
    """
    client, mark_key = redis_client.client(), f"{_MARK}:{queue}"
    pipe = client.pipeline(transaction=False)
    pipe.llen(queue)
    pipe.time()
    pipe.hgetall(mark_key)
    length, (seconds, micros), mark = pipe.execute()
    now = seconds + micros / 1e6
    if mark and length and client.lpos(queue, mark["message"]) is not None:
        client.expire(mark_key, MARK_KEPT_SEC)
        return length, max(0.0, now - float(mark["at"]))
    _set_mark(client, queue, mark_key, now)
    return length, 0.0


def _set_mark(client: redis.Redis, queue: str, mark_key: str, now: float) -> None:
    newest: Any = client.lindex(queue, 0)
    if newest is None:
        client.delete(mark_key)
        return
    pipe = client.pipeline(transaction=True)
    pipe.hset(mark_key, mapping={"message": newest, "at": now})
    pipe.expire(mark_key, MARK_KEPT_SEC)
    pipe.execute()


def _place_of(check: HealthCheck) -> tuple[str, str]:
    """Return the queue of a check, and the one worker of it that is meant, if any."""
    queue, _, node = check.endpoint.removeprefix("celery://").partition("/")
    return queue, node


def _current_fleet() -> Fleet:
    global _fleet
    with _asking:
        if time.monotonic() - _fleet.asked_at >= ROLL_CALL_SEC:
            _fleet = _ask_fleet()
        return _fleet


def _ask_fleet() -> Fleet:
    inspect = app.control.inspect(timeout=ANSWERS_WITHIN_SEC)
    queues: dict[str, list[dict[str, Any]]] = inspect.active_queues() or {}
    # A name may be followed by its rate limit in brackets.
    tasks: dict[str, list[str]] = (inspect.registered() or {}) if queues else {}
    return Fleet(
        asked_at=time.monotonic(),
        queues={node: frozenset(queue["name"] for queue in found) for node, found in queues.items()},
        tasks={node: frozenset(name.partition(" ")[0] for name in found) for node, found in tasks.items()},
    )
