"""What routed requests say about an instance: counts of the last minute, shared by all processes through Redis.

A report costs a dictionary entry; once a second a process sends what it gathered in one round trip. Nothing in here
raises: a witness that cannot be heard is silent.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter

import redis

from hub import redis_client
from hub.circuits import store
from hub.circuits.fleet import fleet
from registry_app.rules import SILENCE, Finding, outcome_finding

log = logging.getLogger(__name__)

SLICE_SEC = 30
SLICES = 2
FLUSH_SEC = 1.0
_PREFIX = "hub:registry:outcomes"

Outcome = tuple[str, bool, int]
"""The instance, whether it was well, and the slice of time in which: what waits for the next report is not of that report's time."""

_lock = threading.Lock()
_gathered: Counter[Outcome] = Counter()
_flushed_at = 0.0


def report(service_id: str, *, ok: bool) -> None:
    """Count a routed request that this instance answered, or failed to."""
    global _flushed_at
    now = time.monotonic()
    with _lock:
        _gathered[service_id, ok, _slice_now()] += 1
        if now - _flushed_at < FLUSH_SEC:
            return
        _flushed_at = now
        batch = dict(_gathered)
        _gathered.clear()
    _send(batch)


def flush() -> None:
    """Send what was gathered now."""
    with _lock:
        batch = dict(_gathered)
        _gathered.clear()
    _send(batch)


def witness(service_id: str) -> Finding:
    """Return what the requests of the last half to whole minute say about an instance."""
    now = _slice_now()
    keys = [f"{_PREFIX}:{service_id}:{now - age}" for age in range(SLICES)]
    try:
        pipe = redis_client.client().pipeline(transaction=False)
        for key in keys:
            pipe.hmget(key, ["ok", "failed"])
        counts = pipe.execute()
    except redis.RedisError as exc:
        log.warning("outcomes of requests cannot be read", extra={"error": type(exc).__name__})
        return SILENCE
    good, failed = (sum(int(count or 0) for count in column) for column in zip(*counts, strict=True))
    return outcome_finding(good=good, failed=failed, window_sec=SLICE_SEC * SLICES)


def _slice_now() -> int:
    return int(time.time()) // SLICE_SEC


def _send(batch: dict[Outcome, int]) -> None:
    # A request waits for this: as for a breaker, a Redis that does not answer at once is gone, and is left alone for a while.
    # Lost counts make a witness quieter, never wrong.
    if batch:
        fleet().reach(lambda: _add(batch))


def _add(batch: dict[Outcome, int]) -> None:
    pipe = store.client().pipeline(transaction=False)
    for (service_id, ok, slice_number), count in batch.items():
        key = f"{_PREFIX}:{service_id}:{slice_number}"
        pipe.hincrby(key, "ok" if ok else "failed", count)
        pipe.expire(key, SLICE_SEC * (SLICES + 1))
    pipe.execute()


def _begin_anew() -> None:
    """A child of a fork gets a fresh lock, as the parent's may be held, and leaves what the parent gathered to the parent."""
    global _lock
    _lock = threading.Lock()
    _gathered.clear()


os.register_at_fork(after_in_child=_begin_anew)
