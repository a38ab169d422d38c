"""A hard end for socket work: timeouts of libraries count per read, and a peer that drips bytes never exceeds one.

One watchdog thread for each process shuts the sockets of whoever is over time; it ends when nobody is left to watch.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

TICK_SEC = 0.1

_current: ContextVar[Deadline | None] = ContextVar("current_deadline", default=None)


class Deadline:
    """Shuts the sockets that were opened under it when the time is over; whoever waits on one gets an error then."""

    def __init__(self, seconds: float) -> None:
        self.has_passed = False
        self.ends_at = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []

    def watch(self, opened: socket.socket) -> None:
        """Shut this socket too when the time is over, or at once if it is."""
        with self._lock:
            # A duplicate, because wrapping a socket in TLS takes the descriptor away from the object in hand.
            self._sockets.append(opened.dup())
            if self.has_passed:
                _shut(self._sockets[-1])

    def expire(self) -> None:
        """The time is over: end all sockets."""
        with self._lock:
            self.has_passed = True
            for opened in self._sockets:
                _shut(opened)

    def close(self) -> None:
        """The work is done: leave its sockets alone."""
        with self._lock:
            for opened in self._sockets:
                opened.close()
            self._sockets.clear()


class _Watchdog:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: set[Deadline] = set()
        self._is_running = False

    def add(self, limit: Deadline) -> None:
        with self._lock:
            self._limits.add(limit)
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="probe-watchdog", daemon=True).start()

    def discard(self, limit: Deadline) -> None:
        with self._lock:
            self._limits.discard(limit)

    def _run(self) -> None:
        while True:
            time.sleep(TICK_SEC)
            with self._lock:
                if not self._limits:
                    self._is_running = False
                    return
                over = [limit for limit in self._limits if limit.ends_at <= time.monotonic()]
                self._limits.difference_update(over)
            for limit in over:
                limit.expire()


_watchdog = _Watchdog()


@contextmanager
def hard_limit(seconds: float) -> Iterator[Deadline]:
    """Limit all socket work that this thread does in the block to so many seconds."""
    limit = Deadline(seconds)
    token = _current.set(limit)
    _watchdog.add(limit)
    try:
        yield limit
    finally:
        _watchdog.discard(limit)
        _current.reset(token)
        limit.close()


def watched(opened: socket.socket) -> socket.socket:
    """Put a new socket under the limit of the current block, if there is one."""
    limit = _current.get()
    if limit:
        limit.watch(opened)
    return opened


def _shut(opened: socket.socket) -> None:
    # The peer may have closed it already, which is as good.
    with suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)


def _begin_anew() -> None:
    """Threads do not survive a fork: a child begins with a watchdog of its own."""
    global _watchdog
    _watchdog = _Watchdog()


os.register_at_fork(after_in_child=_begin_anew)
