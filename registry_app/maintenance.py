"""Maintenance: out of routing, not out of sight, and never without an end."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from hub import database_clock
from hub.errors import ErrorCode, IntegrationError
from registry_app import announce, history, state
from registry_app.models import HealthChange, Service
from registry_app.services import live_row

MAX_MINUTES = 7 * 24 * 60
BATCH = 100


def begin(service_id: str, *, minutes: float, reason: str, by: str) -> datetime:
    """Take an instance out of routing for so many minutes; return when that ends. E11022, and E11902 beyond a week."""
    if not 0 < minutes <= MAX_MINUTES:
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"maintenance lasts up to {MAX_MINUTES} minutes, not {minutes!r:.20}")
    until = database_clock.moment() + timedelta(minutes=minutes)
    row = live_row(service_id)
    _change(
        row, {"maintenance_until": until, "maintenance_reason": reason[:200], "maintenance_by": by[:150]}, f"maintenance: {reason} ({by})"
    )
    return until


def end(service_id: str, *, by: str) -> None:
    """Put an instance back into routing; harmless when it is there. E11022."""
    row = live_row(service_id)
    if row.maintenance_until is not None:
        _change(row, _OVER, f"maintenance ended by {by}")


def end_due(*, now: datetime) -> int:
    """Write down the maintenances whose end has come; routing keeps to the end by itself. Return how many."""
    due = list(Service.objects.filter(maintenance_until__lte=now, deregistered_at=None)[:BATCH])
    return sum(_change(row, _OVER, "maintenance is over") for row in due)


_OVER: dict[str, Any] = {"maintenance_until": None, "maintenance_reason": "", "maintenance_by": ""}


def _change(row: Service, columns: dict[str, Any], reason: str) -> bool:
    now = database_clock.moment()
    with transaction.atomic():
        # Whoever left has an end in the history, behind which nothing may be written: it would be there again.
        same = Service.objects.filter(pk=row.pk, maintenance_until=row.maintenance_until, deregistered_at=None)
        if same.update(**columns) != 1:
            return False
        for name, value in columns.items():
            setattr(row, name, value)
        history.record(row, HealthChange.Kind.MAINTENANCE, old_status=row.status, reason=reason, at=now)
        state.mark_changed()
        announce.changed(row, HealthChange.Kind.MAINTENANCE, old_status=row.status, reason=reason)
    return True
