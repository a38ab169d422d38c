"""Celery's pool of processes, which at three moments does not listen to one of them, and replaces them all at once.

**A worker is asked to end.** Celery forgets the tasks that it wrote to a process and of which it has not read that they began:
their messages go back into their queue, while the process, which was given them, runs them. And once it remembers no task it no
longer listens, but the process stays until it was heard, for up to 30 s (``_ensure_messages_consumed`` in billiard). Whoever ends
workers kills them before; then nothing goes back.

**A process did its last task** (``worker_max_tasks_per_child``). It is given another one, which waits half a second, until the
process has ended and a new one has begun.

**A process ends.** Its pipe is closed a moment before its exit code can be asked for; when that is too early, nobody asks again
before five seconds are over, and there is a process less.

**All did their last task**, at about the same time, for they began together: nobody works until the new ones have begun.
"""

from __future__ import annotations

import time
from typing import Any

from celery import bootsteps
from celery.concurrency import asynpool, prefork

BEGIN_SEC = 1.0
"""A process that waits for a task reads it within a millisecond; one that takes a second is stopped, or gone."""
EXIT_SEC = 1.0
"""How long a process may take to end once its pipe is closed: the kernel has only its memory to free."""


class ResultHandler(asynpool.ResultHandler):  # type: ignore[misc]  # Celery has no types
    """Celery's own, which listens at the end while ``cache`` holds a task."""

    def hear(self, ended: set[int], timeout_sec: float) -> None:
        """Read one message of each process that has something to tell by then; note in ``ended`` whose pipe was closed."""
        ready, _, again = asynpool._select(self.fileno_to_outq.keys() - ended, timeout=timeout_sec)
        for fd in () if again else ready:
            self._flush_outqueue(fd, ended.add, self.fileno_to_outq, self.on_state_change)

    def on_stop_not_started(self) -> None:
        self.cache = True
        super().on_stop_not_started()


class Pool(asynpool.AsynPool):  # type: ignore[misc]
    """Celery's own, which listens."""

    ResultHandler = ResultHandler
    _maxtasksperchild: int | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._places = set[int]()
        super().__init__(*args, **kwargs)

    def _create_worker_process(self, i: int) -> Any:
        """Let the first process of each place end after another share of the tasks: then they are out of step."""
        limit = self._maxtasksperchild
        if limit and i not in self._places:
            self._maxtasksperchild = max(1, limit * (i % self._processes + 1) // self._processes)
        try:
            process = super()._create_worker_process(i)
            process.maxtasks = self._maxtasksperchild
        finally:
            self._places.add(i)
            self._maxtasksperchild = limit
        return process

    def flush(self) -> None:
        """Forget the tasks that no process will begin, and only them."""
        give_up_at, ended = time.monotonic() + BEGIN_SEC, set[int]()
        while self._is_one_about_to_begin() and time.monotonic() < give_up_at:
            self._result_handler.hear(ended, 0.05)
        super().flush()

    def on_job_ready(self, job: int, i: int, obj: Any, inqW_fd: int) -> None:  # Celery's names
        """Let the process have another task, if it will take one."""
        if not self._was_its_last(inqW_fd):
            super().on_job_ready(job, i, obj, inqW_fd)

    def _is_one_about_to_begin(self) -> bool:
        jobs = list(self._cache.values())
        return any(job._write_to and job._write_to._is_alive() and not job._accepted for job in jobs)

    def _was_its_last(self, inq_fd: int) -> bool:
        process = self._fileno_to_inq.get(inq_fd)
        counter = process and self._on_ready_counters.get(process.pid)
        return bool(counter and process.maxtasks) and counter.value + 1 >= process.maxtasks

    def _event_process_exit(self, hub: Any, proc: Any) -> None:
        give_up_at = time.monotonic() + EXIT_SEC
        while proc.exitcode is None and time.monotonic() < give_up_at:
            time.sleep(0.001)  # billiard's own wait has no limit once the pipe is closed
        super()._event_process_exit(hub, proc)


class TaskPool(prefork.TaskPool):  # type: ignore[misc]
    """Celery's own with that pool."""

    Pool = Pool


class OwnPool(bootsteps.Step):  # type: ignore[misc]
    """Give a worker of processes that pool, before Celery makes one."""

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        if worker.pool_cls is prefork.TaskPool:
            worker.pool_cls = TaskPool
