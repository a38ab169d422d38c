"""A hard end for socket work: timeouts of libraries count per read, and a peer that drips bytes never exceeds one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

_current: ContextVar[Deadline | None] = ContextVar("current_deadline", default=None)


class Deadline:
    """Shuts the sockets that were opened under it when the time is over; whoever waits on one gets an error then."""

    def __init__(self, seconds: float) -> None:
        self.has_passed = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, opened: socket.socket) -> None:
        """Shut this socket too when the time is over, or at once if it is."""
        with self._lock:
            # A duplicate, because wrapping a socket in TLS takes the descriptor away from the object in hand.
            self._sockets.append(opened.dup())
            if self.has_passed:
                _shut(self._sockets[-1])

    def close(self) -> None:
        """The work is done: leave its sockets alone."""
        self._timer.cancel()
        with self._lock:
            for opened in self._sockets:
                opened.close()
            self._sockets.clear()

    def _end(self) -> None:
        with self._lock:
            self.has_passed = True
            for opened in self._sockets:
                _shut(opened)


def _shut(opened: socket.socket) -> None:
    # The peer may have closed it already, which is as good.
    with suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)


@contextmanager
def hard_limit(seconds: float) -> Iterator[Deadline]:
    """Limit all socket work that this thread does in the block to so many seconds."""
    limit = Deadline(seconds)
    token = _current.set(limit)
    try:
        yield limit
    finally:
        _current.reset(token)
        limit.close()


def watched(opened: socket.socket) -> socket.socket:
    """Put a new socket under the limit of the current block, if there is one."""
    limit = _current.get()
    if limit:
        limit.watch(opened)
    return opened
