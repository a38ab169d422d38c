"""Look after every instance when its time has come.

Due instances are rows; a process claims one by moving its `next_probe_at` on with a conditional UPDATE, so that of many
processes one probes it, and a process that dies with a claim costs one interval, nothing more. The probes run on
threads of their own beside the worker's tasks: a service that hangs holds one of these threads, never a slot of the
pool that runs requests and sagas. One recorder thread for each process writes what was found, over one connection.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections
from django.utils import timezone

from hub.telemetry import metrics
from registry_app import health, outcomes, probes, rules
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.convert import check_of
from registry_app.models import Service
from registry_app.rules import Finding
from registry_app.timing import interval_of, spread
from registry_app.values import ServiceStatus

log = logging.getLogger(__name__)

BACKLOG_PER_THREAD = 4
"""How many probes may wait or run for each thread: what does not fit stays due, for another process or a second later."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """An instance that this process claimed, with what a look at it needs."""

    service_id: str
    check: HealthCheck | None
    registered_at: datetime
    last_heartbeat_at: datetime | None


def claim_due(limit: int, *, now: datetime) -> list[Job]:
    """Claim up to `limit` instances whose time has come, the longest due first."""
    due = Service.objects.filter(next_probe_at__lte=now).order_by("next_probe_at")[:limit]
    jobs = [job for row in due if (job := _claim(row, now))]
    if due:
        late = (now - min(row.next_probe_at for row in due if row.next_probe_at)).total_seconds()
        metrics.set_gauge("hub_registry_probe_lag_seconds", late)
    return jobs


def _claim(row: Service, now: datetime) -> Job | None:
    check = check_of(row)
    unclaimed = Service.objects.filter(pk=row.pk, next_probe_at=row.next_probe_at)
    if unclaimed.update(next_probe_at=_next_look(row, check, now)) != 1:
        return None
    return Job(service_id=row.service_id, check=check, registered_at=row.registered_at, last_heartbeat_at=row.last_heartbeat_at)


def _next_look(row: Service, check: HealthCheck | None, now: datetime) -> datetime:
    """One interval on; whoever beats in time is looked at again when its time to live is over."""
    usual = now + spread(interval_of(check))
    if check is None or check.check_type is not HealthCheckType.TTL or row.status != ServiceStatus.HEALTHY:
        return usual
    last = row.last_heartbeat_at or row.registered_at
    return max(last + timedelta(seconds=check.ttl_sec), now + timedelta(seconds=1))


def look(job: Job) -> dict[str, Finding]:
    """Ask all witnesses of an instance; this is the part that may wait, and it touches no database."""
    found = {"requests": outcomes.witness(job.service_id), "heartbeat": _heartbeat(job)}
    if job.check and job.check.check_type is not HealthCheckType.TTL:
        found |= probes.run(job.check)
    return found


def _heartbeat(job: Job) -> Finding:
    now = timezone.now()
    age = (now - job.last_heartbeat_at).total_seconds() if job.last_heartbeat_at else None
    if job.check and job.check.check_type is HealthCheckType.TTL:
        since = (now - job.registered_at).total_seconds()
        return rules.heartbeat_finding(age_sec=age, ttl_sec=job.check.ttl_sec, registered_for_sec=since)
    if age is None:
        return rules.SILENCE
    # It did not promise to beat, so its silence is told but proves nothing.
    return Finding(verdict=rules.Verdict.SILENT, reason=f"last heartbeat {age:.0f} s ago")


def run_due(*, limit: int = 100, now: datetime | None = None) -> int:
    """Look at what is due in the calling thread, one after the other; return how many there were."""
    jobs = claim_due(limit, now=now or timezone.now())
    for job in jobs:
        _keep(job, look(job))
    return len(jobs)


def probe_now(service_id: str) -> str | None:
    """Look at one instance now, due or not; return its status, or None when it is not registered."""
    row = Service.objects.filter(service_id=service_id, deregistered_at=None).first()
    if row is None:
        return None
    job = Job(service_id=row.service_id, check=check_of(row), registered_at=row.registered_at, last_heartbeat_at=row.last_heartbeat_at)
    return _keep(job, look(job))


def _keep(job: Job, found: Mapping[str, Finding]) -> str | None:
    verdict = rules.join(found).verdict
    metrics.increment("hub_registry_probes_total", check=job.check.check_type.value if job.check else "none", verdict=verdict.value)
    return health.record(job.service_id, found, at=timezone.now())


class _Background:
    """The threads of one process."""

    def __init__(self, threads: int) -> None:
        self._room = threading.Semaphore(threads * BACKLOG_PER_THREAD)
        self._probing = ThreadPoolExecutor(threads, thread_name_prefix="probe")
        self._found: queue.SimpleQueue[tuple[Job, dict[str, Finding]]] = queue.SimpleQueue()
        self._recorder = threading.Thread(target=self._record, name="probe-recorder", daemon=True)
        self._recorder.start()

    def start_due(self) -> int:
        """Claim as much as there is room for and begin to probe it; return how many that were."""
        places = sum(1 for _ in self._take_room())
        jobs = claim_due(places, now=timezone.now()) if places else []
        for _ in range(places - len(jobs)):
            self._room.release()
        for job in jobs:
            self._probing.submit(self._look, job)
        return len(jobs)

    def _take_room(self) -> Iterator[None]:
        while self._room.acquire(blocking=False):
            yield

    def _look(self, job: Job) -> None:
        try:
            self._found.put((job, look(job)))
        finally:
            self._room.release()

    def _record(self) -> None:
        while True:
            job, found = self._found.get()
            try:
                close_old_connections()
                _keep(job, found)
            except DatabaseError as exc:
                # The next probe of the instance is one interval away and says the same.
                log.warning("a probe could not be recorded", extra={"service_id": job.service_id, "error": type(exc).__name__})


_background: tuple[int, _Background] | None = None
_starting = threading.Lock()


def start_due() -> int:
    """Claim due instances and probe them on this process's own threads; return how many, at once."""
    global _background
    with _starting:
        if _background is None or _background[0] != os.getpid():
            # Threads do not survive a fork: each process makes its own at its first probe.
            _background = (os.getpid(), _Background(settings.HUB.registry_probe_threads))
    return _background[1].start_due()
