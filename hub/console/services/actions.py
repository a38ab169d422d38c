"""What an operator may do to a service instance."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from hub.console.acting.shape import Action, Field, Given, Subject
from hub.errors import ErrorCode, IntegrationError
from registry_app import maintenance, overview, prober, services
from registry_app.models import Service


def find(service_id: str) -> Service:
    """Return an instance, also one that left; E11022 when there never was one."""
    row = Service.objects.filter(service_id=service_id).first()
    if row is None:
        raise IntegrationError(ErrorCode.INSTANCE_NOT_FOUND, f"no instance {service_id[:80]!r} was ever registered")
    return row


def standing(service_id: str) -> dict[str, Any]:
    """Return how an instance stands, for the record."""
    row = find(service_id)
    until = row.maintenance_until.isoformat() if row.maintenance_until else None
    return {"service": row.service_name, "endpoint": row.endpoint, "status": overview.standing(row), "maintenance_until": until}


def _is_there(row: Service) -> bool:
    return row.deregistered_at is None


def _probe(given: Given) -> str:
    return f"the instance is {prober.probe_now(given.subject_id) or 'not registered any more'}"


def _begin_maintenance(given: Given) -> str:
    until = maintenance.begin(given.subject_id, minutes=given.values["minutes"], reason=given.reason, by=given.by)
    return f"out of routing until {until:%Y-%m-%d %H:%M} UTC"


def _end_maintenance(given: Given) -> str:
    maintenance.end(given.subject_id, by=given.by)
    return "back in routing"


def _deregister(given: Given) -> str:
    services.deregister(given.subject_id, reason=f"{given.reason} ({given.by})"[:500], force=True)
    return "out of the registry"


SERVICE = Subject(
    name="service",
    view_permission="registry.view_service",
    find=find,
    id_of=lambda row: row.service_id,
    look=standing,
    page=lambda service_id: reverse("admin:registry_service_change", args=[find(service_id).pk]),
    actions=(
        Action(
            name="probe",
            label="Probe now",
            permission="probe_service",
            explains="Asks the instance how it is, out of turn. The answer counts as any other.",
            call=_probe,
            is_offered=_is_there,
        ),
        Action(
            name="begin-maintenance",
            label="Begin maintenance",
            permission="begin_maintenance",
            explains="Takes the instance out of routing until the end that you give; it is still probed.",
            call=_begin_maintenance,
            is_offered=lambda row: _is_there(row) and not overview.is_in_maintenance(row),
            fields=lambda row: [
                Field(name="minutes", label="For how many minutes", kind="number", initial="30", low=1, high=maintenance.MAX_MINUTES)
            ],
        ),
        Action(
            name="end-maintenance",
            label="End maintenance",
            permission="end_maintenance",
            explains="Puts the instance back into routing now.",
            call=_end_maintenance,
            is_offered=lambda row: _is_there(row) and overview.is_in_maintenance(row),
        ),
        Action(
            name="deregister",
            label="Deregister",
            permission="deregister_service",
            explains="Takes the instance out of the registry. Its history stays; it comes back when it registers again.",
            call=_deregister,
            is_offered=_is_there,
            fields=lambda row: [Field(name="confirm", label=f"Yes, take {row.service_name} at {row.endpoint} out", kind="confirm")],
        ),
    ),
)
