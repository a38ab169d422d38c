"""A retry budget per service, shared by the fleet: retries are a fifth of the calls, and a few per second at least.

When a service fails for everybody, retries of everybody would triple its load; with a budget they add a fifth. Calls
earn and retries spend. What this process earned is told to Redis with its next retry, so a call without one costs nothing.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hub.circuits import store
from hub.circuits.fleet import fleet

EARNED_PER_CALL = 0.2
EARNED_PER_SEC = 1.0
LARGEST = 20.0
IDLE_MS = 3_600_000

_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local left, at = unpack(redis.call('HMGET', KEYS[1], 'left', 'at'))
local largest = tonumber(ARGV[2])
left = (tonumber(left) or largest) + tonumber(ARGV[1]) + math.max(0, now - (tonumber(at) or now)) * tonumber(ARGV[3])
left = math.min(left, largest)
local granted = left >= 1
if granted then left = left - 1 end
redis.call('HSET', KEYS[1], 'left', left, 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return granted and 1 or 0
"""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Budget:
    """What this process earned and has not told yet, and its own buckets for the time that Redis is gone."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything: a child of a fork earned nothing, and the lock may be held by a thread that does not exist there."""
        self._earned: Counter[str] = Counter()
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.Lock()

    def earn(self, service_name: str) -> None:
        """Count a call."""
        with self._lock:
            self._earned[service_name] += 1

    def spend(self, service_name: str) -> bool:
        """Take leave for one retry; False when the budget is used up."""
        with self._lock:
            earned = min(self._earned.pop(service_name, 0) * EARNED_PER_CALL, LARGEST)
        granted: Any = fleet().reach(lambda: _ask(service_name, earned))
        return self._spend_here(service_name, earned) if granted is None else bool(granted)

    def _spend_here(self, service_name: str, earned: float) -> bool:
        now = time.monotonic()
        with self._lock:
            bucket = self._buckets.setdefault(service_name, _Bucket(LARGEST, now))
            bucket.left = min(LARGEST, bucket.left + earned + (now - bucket.at) * EARNED_PER_SEC)
            bucket.at = now
            if bucket.left < 1:
                return False
            bucket.left -= 1
            return True


def _ask(service_name: str, earned: float) -> Any:
    arguments = map(str, (earned, LARGEST, EARNED_PER_SEC, IDLE_MS))
    return store.client().eval(_SCRIPT, 1, f"hub:retry-budget:{service_name}", *arguments)


budget = Budget()
"""This process' part of the budgets."""

os.register_at_fork(after_in_child=budget.begin_anew)
