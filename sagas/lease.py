"""Keep a claimed step while its call runs: say now and then that this process is alive.

A call that ends soon costs nothing: the first renewal comes after a third of the lease. A process that is killed, frozen or
cut from the database renews nothing, so others go on when the lease is over, however long the step may take.
"""

from __future__ import annotations

import logging
import threading
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
    over = threading.Event()
    threading.Thread(target=_keep, args=(attempt, over), name="saga-lease", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _whole(attempt: Attempt) -> float:
    return attempt.ends_at + settings.HUB.saga_lease_grace_sec


def _keep(attempt: Attempt, over: threading.Event) -> None:
    pause_sec = settings.HUB.saga_lease_sec / 3
    if over.wait(pause_sec):
        return  # as most calls end: before anything had to be written
    try:
        while _renew(attempt) and not over.wait(pause_sec):
            pass
    finally:
        connection.close()  # this thread's own


def _renew(attempt: Attempt) -> bool:
    """Renew once; return whether another renewal may be wanted. A database that is away may be back for the next one."""
    now = clock.now()
    until = min(now + settings.HUB.saga_lease_sec, _whole(attempt))
    try:
        applied = store.dispatch(attempt.execution_id, events.Renewed(step=attempt.index, epoch=attempt.epoch, now=now, until=until))
    except (DatabaseError, IntegrationError) as exc:
        connection.close()
        log.warning("a lease was not renewed", extra={"execution_id": attempt.execution_id, "error": type(exc).__name__})
        return True
    return not applied.ignored and until < _whole(attempt)
