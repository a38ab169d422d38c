"""A worker of processes that is asked to end hears which tasks they began, and listens to each of them until it has ended too.

Asked to end, Celery forgets the tasks that it wrote to a process and of which it has not read that they began: their messages go
back into their queue, while the process, which was given them, runs them. And once it remembers no task it no longer listens, but
the process stays until it was heard, for up to 30 s (``_ensure_messages_consumed`` in billiard). Whoever ends workers kills them
before; then nothing goes back.
"""

from __future__ import annotations

import time
from select import select
from typing import Any

from celery import bootsteps
from celery.concurrency import asynpool, prefork

BEGIN_SEC = 1.0
"""A process that waits for a task reads it within a millisecond; one that takes a second is stopped, or gone."""


class ResultHandler(asynpool.ResultHandler):  # type: ignore[misc]  # Celery has no types
    """Celery's own, which listens at the end while ``cache`` holds a task."""

    def hear(self, ended: set[int], timeout_sec: float) -> None:
        """Read one message of each process that has something to tell by then; note in ``ended`` whose pipe was closed."""
        ready, _, _ = select(self.fileno_to_outq.keys() - ended, [], [], timeout_sec)
        for fd in ready:
            self._flush_outqueue(fd, ended.add, self.fileno_to_outq, self.on_state_change)

    def on_stop_not_started(self) -> None:
        self.cache = True
        super().on_stop_not_started()


class Pool(asynpool.AsynPool):  # type: ignore[misc]
    """Celery's own with that handler."""

    ResultHandler = ResultHandler

    def flush(self) -> None:
        """Forget the tasks that no process will begin, and only them."""
        give_up_at, ended = time.monotonic() + BEGIN_SEC, set[int]()
        while self._is_one_about_to_begin() and time.monotonic() < give_up_at:
            self._result_handler.hear(ended, 0.05)
        super().flush()

    def _is_one_about_to_begin(self) -> bool:
        jobs = list(self._cache.values())
        return any(job._write_to and job._write_to._is_alive() and not job._accepted for job in jobs)


class TaskPool(prefork.TaskPool):  # type: ignore[misc]
    """Celery's own with that pool."""

    Pool = Pool


class ListenToTheEnd(bootsteps.Step):  # type: ignore[misc]
    """Give a worker of processes that pool, before Celery makes one."""

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        if worker.pool_cls is prefork.TaskPool:
            worker.pool_cls = TaskPool
