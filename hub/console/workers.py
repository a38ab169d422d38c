"""Which Celery workers live: each says so in Redis with its own heartbeat, so that asking is one round trip.

Asking the workers themselves (``inspect ping``) costs a reply queue and a second's wait for each question.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import cache
from typing import Any, cast

import redis
from celery.signals import heartbeat_sent, worker_shutdown
from django.conf import settings

from hub.celery import QUEUES

KEY, QUEUES_KEY, TRIED_KEY = "hub:workers", "hub:workers:queues", "hub:workers:tried"
FRESH_SEC = 10
"""A worker beats every two seconds; after five missed beats it is taken for dead."""
FORGET_SEC = 3600

# By the server's clock: workers on several machines share no other.
_BEAT = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[3]))) do
    redis.call('ZREM', KEYS[1], gone)
    redis.call('HDEL', KEYS[2], gone)
end
"""
_LIVE = """
local found = {}
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], tonumber(redis.call('TIME')[1]) - tonumber(ARGV[1]), '+inf')) do
    table.insert(found, {worker, redis.call('HGET', KEYS[2], worker) or ''})
end
return found
"""


@cache
def connection() -> redis.Redis:
    """Return this process's client for the questions of the console; it waits a second at most."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1, decode_responses=True)


def try_change() -> None:
    """Change something in Redis; `redis.ResponseError` when it has no memory, no room on its disk, or is a replica."""
    connection().set(TRIED_KEY, 1, px=1000)


def live_workers() -> dict[str, set[str]]:
    """Return the workers that beat within the last ten seconds, each with the queues it reads; `redis.RedisError` when Redis is away."""
    found = cast("list[tuple[str, str]]", connection().eval(_LIVE, 2, KEY, QUEUES_KEY, str(FRESH_SEC)))
    return {worker: set(queues.split(",")) - {""} for worker, queues in sorted(found)}


def unread(alive: dict[str, set[str]]) -> list[str]:
    """Return which of the hub's own queues none of these workers reads."""
    return [queue for queue in QUEUES if not any(queue in queues for queues in alive.values())]


def beat(worker: str, queues: Iterable[str]) -> None:
    """Record that the worker lives, and reads these. A Redis that is away costs one beat: the worker reports that loss itself."""
    with contextlib.suppress(redis.RedisError):
        connection().eval(_BEAT, 2, KEY, QUEUES_KEY, worker, ",".join(queues), str(FORGET_SEC))


def forget(worker: str) -> None:
    """Record that the worker ended as it was asked to."""
    with contextlib.suppress(redis.RedisError), connection().pipeline() as pipe:
        pipe.zrem(KEY, worker)
        pipe.hdel(QUEUES_KEY, worker)
        pipe.execute()


def watch() -> None:
    """Make every worker of this code base beat; called once, when Django is ready."""
    heartbeat_sent.connect(_on_heartbeat, dispatch_uid="hub.console.workers")
    worker_shutdown.connect(_on_shutdown, dispatch_uid="hub.console.workers")


def _on_heartbeat(sender: Any, **kwargs: Any) -> None:
    # Celery keeps this list as operators add and cancel consumers.
    beat(sender.eventer.hostname, list(sender.eventer.app.amqp.queues.consume_from))


def _on_shutdown(sender: Any, **kwargs: Any) -> None:
    forget(sender.hostname)
