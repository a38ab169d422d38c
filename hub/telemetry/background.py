"""A daemon thread that does a small piece of work every so often, in every process that needs it.

Worker pools and web servers fork: threads do not survive it, and a buffer copied by it would be sent twice. A ticker
starts at its first use, forgets the parent's buffer in a child, and works once more when the process ends.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable

from django.conf import settings
from django.db import connections

log = logging.getLogger(__name__)
_tickers: weakref.WeakSet[Ticker] = weakref.WeakSet()


class Ticker:
    """Call `work` every `interval_sec` from the first `ensure_running` on, at `wake`, and at the end of the process.

    What `work` raises is logged and does no harm. `forget` empties what a forked child got from its parent. At the end of the
    process a later `turn` works after those before it, which give it work.
    """

    def __init__(self, name: str, work: Callable[[], None], *, interval_sec: float, forget: Callable[[], None], turn: int = 0) -> None:
        self.turn = turn
        self._name = name
        self._work = work
        self._interval_sec = interval_sec
        self._forget = forget
        self._reset()
        _tickers.add(self)

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._working = threading.Lock()
        self._woken = threading.Event()

    def ensure_running(self) -> None:
        """Start the thread unless it runs; a setting keeps it off where a test works step by step."""
        if self._thread is not None or not settings.HUB.telemetry_in_background:
            return
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Work now rather than at the end of the interval."""
        self._woken.set()

    def work_now(self) -> None:
        """Work in the calling thread; returns when it is done."""
        with self._working:
            try:
                self._work()
            except Exception:
                # The edge of the observer: whatever breaks in here must not break what is observed.
                log.exception("telemetry could not be written", extra={"ticker": self._name})

    def _run(self) -> None:
        while True:
            self._woken.wait(self._interval_sec)
            self._woken.clear()
            self.work_now()
            _drop_broken_connections()

    def after_fork(self) -> None:
        """Begin anew in a child: no thread, fresh locks, nothing of the parent's buffer."""
        self._reset()
        self._forget()


def _drop_broken_connections() -> None:
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()


def flush_all() -> None:
    """Do the work of all tickers now: at the end of a process, or before reading what was written."""
    for ticker in sorted(_tickers, key=lambda one: one.turn):
        ticker.work_now()


def _flush_at_exit() -> None:
    if settings.configured and settings.HUB.telemetry_in_background:
        flush_all()


def _begin_anew() -> None:
    for ticker in list(_tickers):
        ticker.after_fork()


os.register_at_fork(after_in_child=_begin_anew)
atexit.register(_flush_at_exit)
