"""Say on the rows of the runs that this process drives that it is alive: from a thread, since a closure may block its loop.

A loop that stays silent for longer than any of its steps may run does not come back: its runs get no more beats, and the
sweeper parks them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from django.db import DatabaseError, InterfaceError, connection

from hub.errors import IntegrationError
from sagas import clock, events, store

log = logging.getLogger(__name__)

BEAT_SEC = 2.0
OWNER_SEC = 8.0
"""A caller that did not beat for this long counts as dead."""
LATE_SEC = 120.0
"""For how much longer than its longest step a loop may be silent: it may have many runs, and its threads may all be taken."""


class Driven:
    """A run that this process drives."""

    def __init__(self, execution_id: str) -> None:
        self.execution_id = execution_id
        self.heard(0)

    def heard(self, longest_sec: float) -> None:
        """Note that the loop is alive, and may be silent for `longest_sec` from now."""
        self.silent_until = time.monotonic() + longest_sec + LATE_SEC


@contextmanager
def kept(execution_id: str) -> Iterator[Driven]:
    """Beat for a run while the block runs."""
    run, keeper = Driven(execution_id), _keeper(os.getpid())
    keeper.driven[id(run)] = run
    try:
        yield run
    finally:
        del keeper.driven[id(run)]


class _Keeper:
    """What this process drives, and the one thread that beats for it."""

    def __init__(self) -> None:
        self.driven: dict[int, Driven] = {}
        threading.Thread(target=self._run, name="saga-beats", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(BEAT_SEC)
            try:
                self._beat()
            except Exception:  # The thread outlives whatever one round runs into: the next runs need it.
                log.exception("beats are lost")

    def _beat(self) -> None:
        driven = list(self.driven.copy().values())
        # A run may be silent only because another one blocks the loop that they share.
        if any(time.monotonic() <= run.silent_until for run in driven):
            for run in driven:
                _beat_once(run.execution_id)
            connection.close()  # this thread's own
        elif driven:
            log.error("an event loop hangs, its sagas get no more beats", extra={"count": len(driven)})


@lru_cache(maxsize=4)
def _keeper(pid: int) -> _Keeper:
    # A thread does not survive a fork, so each process makes its own.
    return _Keeper()


def _beat_once(execution_id: str) -> None:
    try:
        now = clock.now()
        store.dispatch(execution_id, events.OwnerBeat(now=now, until=now + OWNER_SEC))
    except (DatabaseError, InterfaceError, IntegrationError) as exc:
        # The caller lives: the next beat says so.
        connection.close()
        log.warning("a beat is lost", extra={"execution_id": execution_id, "error": str(getattr(exc, "code", type(exc).__name__))})
