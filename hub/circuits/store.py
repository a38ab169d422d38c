"""The state of all breakers of the fleet, in Redis: one script, one round trip, whatever is asked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from hub.circuits.config import CircuitBreakerConfig
from hub.errors import ErrorCode, IntegrationError

# A breaker stands before every call: a Redis that does not answer at once is treated as gone.
TIMEOUT_SEC = 0.5
MAX_CIRCUITS = 5_000
CHANNEL = "hub:circuits"
NAMES = "hub:circuits:names"
TRANSITIONS = "hub:circuits:transitions"
_PREFIX = "hub:circuit:"
_SCRIPT = Path(__file__).with_name("circuit.lua").read_text()


def client() -> redis.Redis:
    """Return this process's client for breakers."""
    return _client(settings.REDIS_URL)


@cache
def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=TIMEOUT_SEC,
        socket_connect_timeout=TIMEOUT_SEC,
        # A pooled connection may have died with the last Redis. Repeating is right then; after a timeout it would count twice.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )


@cache
def _script(url: str) -> Any:
    return _client(url).register_script(_SCRIPT)


def ask(service_name: str, operation: str, config: CircuitBreakerConfig, **args: Any) -> dict[str, Any]:
    """Run one operation of `circuit.lua` and return its answer; E11260 when there are too many breakers.

    Raises `redis.RedisError` when Redis does not answer.
    """
    sent = {"service": service_name, "config": asdict(config), "channel": CHANNEL, "max_names": MAX_CIRCUITS, "jitter": 0.0, **args}
    reply = _script(settings.REDIS_URL)(keys=_keys(service_name), args=[operation, json.dumps(sent)])
    found: dict[str, Any] = json.loads(reply)
    if "error" in found:
        raise IntegrationError(ErrorCode.TOO_MANY_BREAKERS, f"there are {MAX_CIRCUITS} breakers; {service_name} gets none")
    return found


def names() -> list[str]:
    """Return the names of all breakers that Redis knows, in order; raises `redis.RedisError`."""
    found: Any = client().zrange(NAMES, 0, MAX_CIRCUITS)
    return sorted(found)


def forget_names(gone: Iterable[str]) -> None:
    """Take names off the list whose state has expired; raises `redis.RedisError`."""
    if found := list(gone):
        client().zrem(NAMES, *found)


def exists(service_names: list[str]) -> list[bool]:
    """Tell which of these have a state; raises `redis.RedisError`."""
    pipe = client().pipeline(transaction=False)
    for name in service_names:
        pipe.exists(_PREFIX + name)
    return [bool(found) for found in pipe.execute()]


def transitions(count: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the oldest transitions that nobody took off yet, as (id, record); raises `redis.RedisError`."""
    entries: Any = client().xrange(TRANSITIONS, count=count)
    return [(entry_id, json.loads(found["move"])) for entry_id, found in entries]


def drop_transitions(ids: list[str]) -> None:
    """Take recorded transitions off; raises `redis.RedisError`."""
    if ids:
        client().xdel(TRANSITIONS, *ids)


def _keys(service_name: str) -> list[str]:
    own = _PREFIX + service_name
    return [own, f"{own}:probes", f"{own}:failures", TRANSITIONS, NAMES]
