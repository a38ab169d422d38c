"""Which Celery workers live: each says so in Redis with its own heartbeat, so that asking is one round trip.

Asking the workers themselves (``inspect ping``) costs a reply queue and a second's wait for each question.
"""

from __future__ import annotations

import contextlib
from functools import cache
from typing import Any, cast

import redis
from celery.signals import heartbeat_sent, worker_shutdown
from django.conf import settings

KEY = "hub:workers"
FRESH_SEC = 10
"""A worker beats every two seconds; after five missed beats it is taken for dead."""
FORGET_SEC = 3600

# By the server's clock: workers on several machines share no other.
_BEAT = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
"""
_LIVE = "return redis.call('ZRANGEBYSCORE', KEYS[1], tonumber(redis.call('TIME')[1]) - tonumber(ARGV[1]), '+inf')"


@cache
def connection() -> redis.Redis:
    """Return this process's client for the questions of the console; it waits a second at most."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1, decode_responses=True)


def live_workers() -> list[str]:
    """Return the names of the workers that beat within the last ten seconds; `redis.RedisError` when Redis is away."""
    return sorted(cast("list[str]", connection().eval(_LIVE, 1, KEY, str(FRESH_SEC))))


def beat(worker: str) -> None:
    """Record that the worker lives. A Redis that is away costs one beat: the worker reports that loss itself."""
    with contextlib.suppress(redis.RedisError):
        connection().eval(_BEAT, 1, KEY, worker, str(FORGET_SEC))


def forget(worker: str) -> None:
    """Record that the worker ended as it was asked to."""
    with contextlib.suppress(redis.RedisError):
        connection().zrem(KEY, worker)


def watch() -> None:
    """Make every worker of this code base beat; called once, when Django is ready."""
    heartbeat_sent.connect(_on_heartbeat, dispatch_uid="hub.console.workers")
    worker_shutdown.connect(_on_shutdown, dispatch_uid="hub.console.workers")


def _on_heartbeat(sender: Any, **kwargs: Any) -> None:
    beat(sender.eventer.hostname)


def _on_shutdown(sender: Any, **kwargs: Any) -> None:
    forget(sender.hostname)
