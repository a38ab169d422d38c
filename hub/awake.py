"""A worker of threads fetches its next message as soon as one of them is free for it.

Celery's loop looks for room when something wakes it, or after a second. The processes of prefork wake it by their pipes;
a thread does not (https://github.com/celery/celery/issues/6941). So a worker of one thread took ten messages a second: that
often its loop woke to tell Flower.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from celery import bootsteps
from celery.concurrency.thread import TaskPool
from celery.signals import task_prerun


class WakeLoop(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """A task that begins has given its message's place free, and says so through a pipe that the loop reads."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def include_if(self, consumer: Any) -> bool:
        """Tell whether this worker's tasks run in threads beside its loop."""
        return bool(consumer.hub) and isinstance(consumer.pool, TaskPool)

    def create(self, consumer: Any) -> None:
        # Open for good: a thread may write while the consumer ends, and a closed number would be somebody else's.
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)

    def start(self, consumer: Any) -> None:
        consumer.hub.add_reader(self._reader, os.read, self._reader, 4096)
        task_prerun.connect(self._wake, weak=False)

    def stop(self, consumer: Any) -> None:
        task_prerun.disconnect(self._wake)
        consumer.hub.remove_reader(self._reader)

    def _wake(self, **_: Any) -> None:
        with suppress(BlockingIOError):  # full: the loop is awake, or about to be
            os.write(self._writer, b"\0")
