"""A worker of threads fetches its next message as soon as one of them is free for it.

Celery's loop looks for room when something wakes it, or after a second. The processes of prefork wake it by their pipes;
a thread does not, so a worker whose threads were all taken began no more tasks a second than it has threads
(https://github.com/celery/celery/issues/6941).
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

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._pipe: tuple[int, int] | None = None

    def include_if(self, consumer: Any) -> bool:
        """Tell whether this worker's tasks run in threads beside its loop."""
        return bool(consumer.hub) and isinstance(consumer.pool, TaskPool)

    def start(self, consumer: Any) -> None:
        # Kept open for good: a thread may write while the consumer ends, and a closed number would be somebody else's.
        self._pipe = self._pipe or _pipe()
        consumer.hub.add_reader(self._pipe[0], os.read, self._pipe[0], 4096)
        task_prerun.connect(self._wake, weak=False)

    def stop(self, consumer: Any) -> None:
        task_prerun.disconnect(self._wake)
        if self._pipe:
            consumer.hub.remove_reader(self._pipe[0])

    def _wake(self, **_: Any) -> None:
        if self._pipe:
            with suppress(BlockingIOError):  # full: the loop is awake, or about to be
                os.write(self._pipe[1], b"\0")


def _pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    return reader, writer
