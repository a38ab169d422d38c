"""The sweeper as a process of its own, so that a test can kill it like any other."""

from __future__ import annotations

import logging
import time

from django.db import Error, connection

from sagas import recovery

log = logging.getLogger(__name__)


def sweep_for_ever(every_sec: float) -> None:
    """Sweep as often as asked; a database that is away is waited for."""
    while True:
        try:
            recovery.sweep()
        except Error as exc:
            log.warning("sweep failed, tried again: %s", exc)
            connection.close()
        time.sleep(every_sec)
