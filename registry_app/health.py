"""Take the findings of the witnesses into the health of an instance, and keep what follows from it.

The rules are in `rules`; here the row is read, the new health stored if nobody else stored one meanwhile, the change
written down and announced, and the hub's own part in a sudden mass failure considered.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from registry_app import announce, history, preservation, rules, services, state
from registry_app.convert import check_of, health_columns, health_of, thresholds_of
from registry_app.models import HealthChange, Service
from registry_app.rules import Finding, Health, Verdict
from registry_app.values import ServiceStatus

log = logging.getLogger(__name__)

TRACKED = 60
ATTEMPTS = 3
_LETTERS = {Verdict.GOOD: "g", Verdict.SLOW: "s", Verdict.BAD: "b", Verdict.SILENT: "-"}


def record(service_id: str, witnesses: Mapping[str, Finding], *, at: datetime, seen: Service | None = None) -> str | None:
    """Store what was seen of an instance; return its status, or None when there was nothing to store it to.

    `seen` is the row as the caller read it: mostly nobody changed it since, and it need not be read again.
    """
    for attempt in range(ATTEMPTS):
        row = seen if attempt == 0 and seen else Service.objects.filter(service_id=service_id, deregistered_at=None).first()
        if row is None:
            return None
        if _store(row, witnesses, at):
            _leave_if_hopeless(row, at)
            return row.status
    # Others wrote each time: what they saw is as good as this.
    return None


def _store(row: Service, witnesses: Mapping[str, Finding], at: datetime) -> bool:
    before, check = health_of(row), check_of(row)
    finding = rules.join(witnesses)
    after = rules.judge(before, finding, thresholds_of(check), now=at.timestamp())
    if _falls(before, after) and preservation.holds(row, failing_since=_failing_since(after, at), at=at):
        after = rules.held(before, after)
    return _write(row, before, after, _seen(row, witnesses, finding, at), at)


def put_back(*, at: datetime) -> int:
    """Put those back who fell in the event for which the hub suspects itself, before there were enough to suspect it; return how many."""
    return sum(_put_back(row, at) for row in preservation.fallen_before(at=at))


def _put_back(row: Service, at: datetime) -> bool:
    fallen = health_of(row)
    fall = row.changes.filter(kind=HealthChange.Kind.HEALTH).latest("pk")
    # The fall added 1 to the penalty, and is taken back whole.
    known = replace(fallen, status=ServiceStatus(fall.old_status), penalty=max(0.0, fallen.penalty - 1))
    return _write(row, fallen, rules.held(known, fallen), {}, at)


def _write(row: Service, before: Health, after: Health, seen: dict[str, Any], at: datetime) -> bool:
    """Store a health if nobody stored another meanwhile, with all that follows from a new status."""
    columns = {**health_columns(after), **seen}
    if before.status is after.status:
        return _update(row, columns)
    with transaction.atomic():
        if not _update(row, {**columns, "status_since": at}):
            return False
        # What others may have changed since the row was read, and the history tells.
        row.refresh_from_db(fields=["maintenance_until", "service_version"])
        history.record(row, HealthChange.Kind.HEALTH, old_status=before.status, reason=after.reason, at=at)
        state.mark_changed()
        announce.changed(row, HealthChange.Kind.HEALTH, old_status=before.status, reason=after.reason)
    log.info("service health changed", extra={"service_id": row.service_id, "old": before.status.value, "new": after.status.value})
    return True


def _failing_since(health: Health, at: datetime) -> datetime:
    return at if health.failing_since is None else datetime.fromtimestamp(health.failing_since, UTC)


def _falls(before: Health, after: Health) -> bool:
    return after.status is ServiceStatus.UNHEALTHY and before.status is not ServiceStatus.UNHEALTHY


def _seen(row: Service, witnesses: Mapping[str, Finding], finding: Finding, at: datetime) -> dict[str, Any]:
    took = next((one.took_ms for one in witnesses.values() if one.took_ms is not None), None)
    columns: dict[str, Any] = {
        "witnesses": {name: _said(one, at) for name, one in witnesses.items() if one is not rules.SILENCE},
        "last_probe_at": at,
        "tracker": (row.tracker + _LETTERS[finding.verdict])[-TRACKED:],
    }
    if took is not None:
        columns["recent_ms"] = [*row.recent_ms, round(took, 1)][-TRACKED:]
    return columns


def _said(finding: Finding, at: datetime) -> dict[str, Any]:
    return {"verdict": finding.verdict.value, "reason": finding.reason[:300], "at": at.astimezone(UTC).isoformat(timespec="seconds")}


def _update(row: Service, columns: dict[str, Any]) -> bool:
    seq = row.health_seq
    same = Service.objects.filter(pk=row.pk, health_seq=seq, deregistered_at=None)
    if same.update(**columns, health_seq=seq + 1) != 1:
        return False
    for name, value in columns.items():
        setattr(row, name, value)
    return True


def _leave_if_hopeless(row: Service, at: datetime) -> None:
    check = check_of(row)
    if check is None or not rules.should_leave(health_of(row), deregister_after=check.deregister_after):
        return
    # Whoever is being repaired may fail for as long as that takes, which may have begun while the probe waited.
    row.refresh_from_db(fields=["maintenance_until"])
    if (row.maintenance_until is None or row.maintenance_until <= at) and preservation.active_reason(at=at) is None:
        services.deregister(row.service_id, reason=f"failed {row.failures} checks in a row: {row.reason}", force=True)
