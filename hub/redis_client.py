"""One Redis client per process: building one per command costs more than the command."""

from __future__ import annotations

import os
from functools import lru_cache

import redis
from django.conf import settings


def client() -> redis.Redis:
    """Return this process's client; every command has a time limit. A fork gets its own."""
    return _client(os.getpid(), settings.REDIS_URL)


@lru_cache(maxsize=2)
def _client(pid: int, url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2, health_check_interval=10, decode_responses=True)
