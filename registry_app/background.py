"""Probes beside the worker's tasks, on threads of their own.

A service that hangs holds one of these threads, never a slot of the pool that runs requests and sagas. Probes begin one
after the other at a steady pace rather than all at once: thirty threads that wake together would hold up every task of
the process. One recorder thread for each process writes what was found, over one connection.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Iterator

from django.conf import settings
from django.db import close_old_connections

from hub import database_clock
from registry_app import prober
from registry_app.prober import Job
from registry_app.rules import Finding

log = logging.getLogger(__name__)

STARTS_PER_SEC = 100
BACKLOG_PER_THREAD = 4
"""How many probes may wait or run for each thread: what does not fit stays due, for another process or a second later."""


class Background:
    """The threads of one process: a pacer that starts probes, some that probe, one that records."""

    def __init__(self, threads: int) -> None:
        self._room = threading.Semaphore(threads * BACKLOG_PER_THREAD)
        self._claimed: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._begun: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[tuple[Job, dict[str, Finding]]] = queue.SimpleQueue()
        # Daemons, and no executor: the end of a process would wait for all probes of a backlog, each until its limit.
        for work in (self._pace, self._record, *[self._look] * threads):
            threading.Thread(target=work, name=f"probe-{work.__name__.strip('_')}", daemon=True).start()

    def start_due(self) -> int:
        """Claim as much as there is room for, to be probed within about a second; return how many that were, at once."""
        places, jobs = sum(1 for _ in self._take_room()), list[Job]()
        try:
            jobs = prober.claim_due(places, now=database_clock.moment()) if places else []
        finally:
            # Also when the database is away: places that are not given back would be gone for as long as the process lives.
            for _ in range(places - len(jobs)):
                self._room.release()
        for job in jobs:
            self._claimed.put(job)
        return len(jobs)

    def _take_room(self) -> Iterator[None]:
        while self._room.acquire(blocking=False):
            yield

    def _pace(self) -> None:
        while True:
            self._begun.put(self._claimed.get())
            time.sleep(1 / STARTS_PER_SEC)

    def _look(self) -> None:
        while True:
            job = self._begun.get()
            try:
                self._found.put((job, prober.look(job)))
            except Exception:  # This thread looks at others too: it outlives whatever one of them does to it.
                log.exception("an instance could not be looked at", extra={"service_id": job.row.service_id})
            finally:
                self._room.release()

    def _record(self) -> None:
        while True:
            job, found = self._found.get()
            try:
                prober.keep(job, found)
            except Exception as exc:  # This thread records for all: it outlives whatever one finding does to it.
                # The next probe of the instance is one interval away and says the same.
                log.warning("a probe could not be recorded", extra={"service_id": job.row.service_id, "error": type(exc).__name__})
                close_old_connections()


_background: tuple[int, Background] | None = None
_starting = threading.Lock()


def start_due() -> int:
    """Claim due instances and have them probed by this process's own threads; return how many, at once."""
    global _background
    with _starting:
        if _background is None or _background[0] != os.getpid():
            # Threads do not survive a fork: each process makes its own at its first probe.
            _background = (os.getpid(), Background(settings.HUB.registry_probe_threads))
    return _background[1].start_due()


def _begin_anew() -> None:
    """A child of a fork gets a fresh lock: the parent's may be held by a thread that does not exist here."""
    global _starting
    _starting = threading.Lock()


os.register_at_fork(after_in_child=_begin_anew)
