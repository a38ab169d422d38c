"""One Redis client per process: building one per command costs more than the command."""

from __future__ import annotations

import os
from functools import lru_cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry


def client() -> redis.Redis:
    """Return this process's client; every command has a time limit. A fork gets its own."""
    return _client(os.getpid(), settings.REDIS_URL, 1)


def sender() -> redis.Redis:
    """Return the client that messages are sent by: it repeats nothing, for a message that is sent again is carried out again."""
    return _client(os.getpid(), settings.REDIS_URL, 0)


def lacks_memory(exc: Exception) -> bool:
    """Tell whether Redis refused for want of memory; 6.2 makes a script's refusal an error of the script."""
    return isinstance(exc, redis.OutOfMemoryError) or (isinstance(exc, redis.ResponseError) and "OOM command" in str(exc))


@lru_cache(maxsize=4)
def _client(pid: int, url: str, retries: int) -> redis.Redis:
    limits = {"socket_timeout": 5, "socket_connect_timeout": 2, "health_check_interval": 10}
    # One more try for a connection that went stale, at once. After a timeout it would double the wait, and do twice what Redis
    # did late: who waits for Redis decides itself how long.
    stale = Retry(NoBackoff(), retries, supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(url, decode_responses=True, retry=stale, **limits)
