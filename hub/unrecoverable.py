"""A worker that met an unrecoverable error ends, even if its pool no longer can: half dead it would look alive for good."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from celery import bootsteps

log = logging.getLogger(__name__)

GRACE_SEC = 15.0


class EndForGood(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Started last, so stopped first: when the worker stops because of an error, it has 15 s to do so by itself."""

    requires = {"celery.worker.components:Pool"}

    def stop(self, worker: Any) -> None:
        if worker.exitcode:
            timer = threading.Timer(GRACE_SEC, _end, args=(worker.exitcode,))
            timer.daemon = True
            timer.start()


def _end(exitcode: int) -> None:
    log.critical("the worker hangs after an unrecoverable error and is ended; whoever watches it starts it again")
    os._exit(exitcode)
