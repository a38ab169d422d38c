"""Look after every instance when its time has come.

Due instances are rows; a process claims one by moving its `next_probe_at` on with a conditional UPDATE, so that of many
processes one probes it, and a process that dies with a claim costs one interval, or `CLAIM` if that is shorter. `background` runs the
probes of a worker.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from hub import database_clock
from hub.errors import IntegrationError
from hub.telemetry import metrics
from registry_app import health, outcomes, probes, rules
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.convert import check_of
from registry_app.models import Service
from registry_app.rules import Finding
from registry_app.timing import spread
from registry_app.values import ServiceStatus

log = logging.getLogger(__name__)

CLAIM = timedelta(minutes=5)
"""Longer than a backlog of probes takes: an interval may be a day, and is earned by the look that was kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """An instance to look at, as it was when this process claimed it: until when, and when it is looked at again after that."""

    row: Service
    check: HealthCheck | None
    claimed_until: datetime | None = None
    next_look: datetime | None = None


def claim_due(limit: int, *, now: datetime) -> list[Job]:
    """Claim up to `limit` instances whose time has come, the longest due first."""
    due = Service.objects.filter(next_probe_at__lte=now).order_by("next_probe_at")[:limit]
    return [job for row in due if (job := _claim(row, now))]


def _claim(row: Service, now: datetime) -> Job | None:
    try:
        check = check_of(row)
    except IntegrationError as exc:
        # A row that this version refuses keeps no other from being looked at; it waits its interval like all.
        log.warning("a check cannot be read", extra={"service_id": row.service_id, "code": str(exc.code)})
        _move_on(row, _next_look(row, None, now))
        return None
    next_look = _next_look(row, check, now)
    claimed_until = min(next_look, now + CLAIM)
    return Job(row=row, check=check, claimed_until=claimed_until, next_look=next_look) if _move_on(row, claimed_until) else None


def _move_on(row: Service, until: datetime) -> bool:
    """Set when to look again; False when another process did so first."""
    return Service.objects.filter(pk=row.pk, next_probe_at=row.next_probe_at).update(next_probe_at=until) == 1


def _next_look(row: Service, check: HealthCheck | None, now: datetime) -> datetime:
    """One interval on; whoever beats in time is looked at again when its time to live is over."""
    usual = now + spread(check)
    if check is None or check.check_type is not HealthCheckType.TTL or row.status != ServiceStatus.HEALTHY:
        return usual
    over_at = (row.last_heartbeat_at or row.registered_at) + timedelta(seconds=check.ttl_sec)
    # One that is held at healthy is over for long: each look is one more failure, and none is to come before its interval.
    return max(over_at, now + timedelta(seconds=1)) if over_at >= now else usual


def look(job: Job) -> dict[str, Finding]:
    """Ask all witnesses of an instance; this is the part that may wait, and it touches no database."""
    found = {"requests": outcomes.witness(job.row.service_id), "heartbeat": _heartbeat(job)}
    if job.check and job.check.check_type is not HealthCheckType.TTL:
        found |= probes.run(job.check)
    return found


def _heartbeat(job: Job) -> Finding:
    now, last = database_clock.moment(), job.row.last_heartbeat_at
    age = (now - last).total_seconds() if last else None
    if job.check and job.check.check_type is HealthCheckType.TTL:
        since = (now - job.row.registered_at).total_seconds()
        return rules.heartbeat_finding(age_sec=age, ttl_sec=job.check.ttl_sec, registered_for_sec=since)
    if age is None:
        return rules.SILENCE
    # It did not promise to beat, so its silence is told but proves nothing.
    return Finding(verdict=rules.Verdict.SILENT, reason=f"last heartbeat {age:.0f} s ago")


def probe_now(service_id: str) -> str | None:
    """Look at one instance now, due or not; return its status, or None when it is not registered."""
    row = Service.objects.filter(service_id=service_id, deregistered_at=None).first()
    if row is None:
        return None
    job = Job(row=row, check=check_of(row))
    return keep(job, look(job))


def keep(job: Job, found: Mapping[str, Finding]) -> str | None:
    """Store what the witnesses said; return the instance's status, or None when it left meanwhile."""
    if found["heartbeat"].verdict is rules.Verdict.BAD:
        # It may have beaten since this look was claimed, which can be long ago where others hang.
        job.row.last_heartbeat_at = Service.objects.filter(pk=job.row.pk).values_list("last_heartbeat_at", flat=True).first()
        found = {**found, "heartbeat": _heartbeat(job)}
    kind = job.check.check_type.value if job.check else "none"
    metrics.increment("hub_registry_probes_total", check=kind, verdict=rules.join(found).verdict.value)
    status = health.record(job.row.service_id, found, at=database_clock.moment(), seen=job.row)
    if job.claimed_until != job.next_look:
        Service.objects.filter(pk=job.row.pk, next_probe_at=job.claimed_until).update(next_probe_at=job.next_look)
    return status
