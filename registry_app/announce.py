"""Tell others what changed: events on the bus, and the copy that this process looks services up in."""

from __future__ import annotations

import logging

from django.db import transaction

from hub.errors import IntegrationError
from hub.events import bus
from hub.events.messages import EventMessage
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
    try:
        # Inside the transaction of the change: the event goes out with it, or not at all.
        bus.publish(EventMessage.create(f"service.{event_type}", event_type, payload, source_service="hub"))
    except IntegrationError as exc:
        # The registry is right without its announcement; whoever missed it reads the history.
        log.warning("a change of the registry was not announced", extra={"event_type": event_type, "code": str(exc.code)})
