"""Keep claimed steps while their calls run: say now and then that this process is alive.

A call that ends soon costs nothing: only what has been held for a third of the lease is renewed, from then on each sixth of
it. A process that is killed, frozen or cut from the database renews nothing, so others go on when the lease is over,
however long the step may take.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from hub.errors import IntegrationError
from sagas import clock, events, store
from sagas.claimed import Attempt

log = logging.getLogger(__name__)


@contextmanager
def kept(attempt: Attempt) -> Iterator[None]:
    """Renew the lease of a step while the block runs."""
    if attempt.lease_until >= _whole(attempt):
        yield  # it was claimed for as long as the call may take
        return
    held = _of_this_process().held
    held[id(attempt)] = attempt, time.monotonic()
    try:
        yield
    finally:
        held.pop(id(attempt), None)


class _Keeper:
    """What this process holds, with since when, and the one thread that renews it."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[Attempt, float]] = {}
        self._is_connected = False
        self._every_sec = settings.HUB.saga_lease_sec / 6
        threading.Thread(target=self._run, name="saga-lease", daemon=True).start()

    def _run(self) -> None:
        while True:
            # It looks by itself: to be woken for each step would cost each step more than these looks.
            time.sleep(self._every_sec)
            try:
                self._look()
            except Exception:  # The thread outlives whatever one renewal runs into: the next steps need it.
                log.exception("leases could not be renewed")

    def _look(self) -> None:
        old = time.monotonic() - settings.HUB.saga_lease_sec / 3
        due = [key for key, (_, since) in self.held.copy().items() if since <= old]
        for key in due:
            attempt, _ = self.held.get(key, (None, 0))
            if attempt is not None and not _renew(attempt):
                self.held.pop(key, None)
        self._is_connected |= bool(due)
        if self._is_connected and not self.held:
            connection.close()  # this thread's own
            self._is_connected = False


_keeper: tuple[int, _Keeper] | None = None
_starting = threading.Lock()


def _of_this_process() -> _Keeper:
    """Return the keeper; a thread does not survive a fork, so each process makes its own at its first step."""
    global _keeper
    with _starting:
        if _keeper is None or _keeper[0] != os.getpid():
            _keeper = (os.getpid(), _Keeper())
        return _keeper[1]


def _begin_anew() -> None:
    """A child of a fork gets a fresh lock: the parent's may be held by a thread that does not exist here."""
    global _starting
    _starting = threading.Lock()


os.register_at_fork(after_in_child=_begin_anew)


def _whole(attempt: Attempt) -> float:
    return attempt.ends_at + settings.HUB.saga_lease_grace_sec


def _renew(attempt: Attempt) -> bool:
    """Renew once; return whether another renewal may be wanted.

    A database that is away may be back for the next one, and a clock that was set back is soon where it was.
    """
    now = clock.now()
    until = min(now + settings.HUB.saga_lease_sec, _whole(attempt))
    try:
        applied = store.dispatch(attempt.execution_id, events.Renewed(step=attempt.index, epoch=attempt.epoch, now=now, until=until))
    except (DatabaseError, IntegrationError) as exc:
        connection.close()
        log.warning("a lease was not renewed", extra={"execution_id": attempt.execution_id, "error": type(exc).__name__})
        return True
    return applied.ignored != "given up" and until < _whole(attempt)
