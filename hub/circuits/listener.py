"""Hear of changes to breakers without asking: one subscription per process, looked at by calls, no thread.

A breaker that was opened elsewhere is known to the first call after `LOOK_EVERY_SEC`, and nothing has to survive a fork.
"""

from __future__ import annotations

import json
import select
import threading
import time
from collections.abc import Callable
from typing import Any

import redis

from hub.circuits import store

RECONNECT_SEC = 1.0
LOOK_EVERY_SEC = 0.0002
"""Looking whether something arrived is a system call, which costs more than all else that a call through a closed breaker does."""

Told = Callable[[str, dict[str, Any]], None]


class Listener:
    """Calls `told(service_name, circuit)` for each change, and `missed()` when changes may have gone unheard."""

    def __init__(self, told: Told, missed: Callable[[], None]) -> None:
        self._told = told
        self._missed = missed
        self._pubsub: Any = None
        self._ready: select.poll | None = None
        self._next_try = self._next_look = 0.0
        self._reading = threading.Lock()

    @property
    def is_subscribed(self) -> bool:
        """Tell whether changes arrive."""
        return self._ready is not None

    def hear(self) -> None:
        """Take in what arrived since the last call; returns at once."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look, ready = now + LOOK_EVERY_SEC, self._ready
        if ready is None:
            if now >= self._next_try:
                self._locked(self._subscribe)
        elif _has_news(ready):
            self._locked(self._read)

    def _locked(self, work: Callable[[], None]) -> None:
        # Another thread that is at it already will be done before this one could be.
        if not self._reading.acquire(blocking=False):
            return
        try:
            work()
        except (redis.RedisError, OSError):
            self._give_up()
        finally:
            self._reading.release()

    def _subscribe(self) -> None:
        self._next_try = time.monotonic() + RECONNECT_SEC
        pubsub = store.client().pubsub()  # type: ignore[no-untyped-call]
        pubsub.subscribe(store.CHANNEL)
        # Only once Redis has confirmed it is a change certain to arrive.
        if pubsub.get_message(timeout=store.TIMEOUT_SEC) is None:
            pubsub.close()
            return
        ready = select.poll()
        ready.register(pubsub.connection._sock, select.POLLIN)
        self._pubsub, self._ready = pubsub, ready
        self._missed()

    def _read(self) -> None:
        while (message := self._pubsub.get_message(timeout=0)) is not None:
            if message["type"] == "message":
                heard = json.loads(message["data"])
                self._told(heard["service"], heard["circuit"])
            elif message["type"] == "subscribe":
                # The client connected again by itself, to another socket than the one that is watched.
                self._give_up()
                return

    def _give_up(self) -> None:
        pubsub, self._pubsub, self._ready = self._pubsub, None, None
        self._next_try = time.monotonic() + RECONNECT_SEC
        if pubsub is not None:
            pubsub.close()
        self._missed()


def _has_news(ready: select.poll) -> bool:
    try:
        return bool(ready.poll(0))
    except RuntimeError:
        return False  # another thread is looking at this very moment
