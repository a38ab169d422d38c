"""The registry for people: the sick first, and each with its reason."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, IntegerField, Value, When

from hub import database_clock
from hub.errors import ErrorCode, IntegrationError
from registry_app.convert import health_of, info_of
from registry_app.models import Service
from registry_app.rules import penalty_now

MAX_PAGE = 1_000
LEAST_OF_ID = 4
SEVERITY = ("unhealthy", "degraded", "unknown", "healthy")
by_severity = Case(*(When(status=status, then=Value(place)) for place, status in enumerate(SEVERITY)), output_field=IntegerField())


def sick_first(*, status: str | None = None, limit: int = 100) -> list[Service]:
    """Return registered instances, the worst first, then by name."""
    rows = Service.objects.filter(deregistered_at=None)
    rows = rows.filter(status=status) if status else rows
    return list(rows.order_by(by_severity, "service_name", "endpoint")[: min(limit, MAX_PAGE)])


def instances_of(service_name: str) -> list[Service]:
    """Return the registered instances of a service, the worst first; E11020 when there is none."""
    rows = list(Service.objects.filter(service_name=service_name, deregistered_at=None).order_by(by_severity, "endpoint")[:MAX_PAGE])
    if not rows:
        raise IntegrationError(ErrorCode.SERVICE_NOT_FOUND, f"no service {service_name!r:.80} is registered")
    return rows


def completed(beginning: str) -> str:
    """Return the id of a registered instance for its first four characters or more; E11908 when several begin so.

    What is the beginning of none comes back as it was.
    """
    rows = Service.objects.filter(service_id__startswith=beginning, deregistered_at=None)
    found = list(rows.values_list("service_id", flat=True)[:2]) if len(beginning) >= LEAST_OF_ID else []
    if len(found) > 1 and beginning not in found:
        raise IntegrationError(ErrorCode.IDENTIFIER_MALFORMED, f"several instances begin with {beginning!r}: give more of the id")
    return found[0] if len(found) == 1 else beginning


def standing(row: Service) -> str:
    """Return the status in a word or two: maintenance stands in front of it."""
    if row.deregistered_at:
        return "deregistered"
    return f"maintenance ({row.status})" if is_in_maintenance(row) else row.status


def is_in_maintenance(row: Service) -> bool:
    """Tell whether the instance is out of routing now."""
    return row.maintenance_until is not None and row.maintenance_until > database_clock.moment()


def flap_penalty(row: Service) -> float:
    """Return the flap penalty as it stands now."""
    return round(penalty_now(health_of(row), now=database_clock.moment().timestamp()), 2)


def as_json(row: Service) -> dict[str, Any]:
    """Return an instance with all that is known of its health."""
    return {
        **info_of(row).to_dict(),
        "status_since": row.status_since.isoformat(),
        "witnesses": row.witnesses,
        "flap_penalty": flap_penalty(row),
        "tracker": row.tracker,
        "owner": row.owner,
        "generation": row.generation,
        "maintenance_until": row.maintenance_until.isoformat() if row.maintenance_until else None,
        "last_heartbeat_at": row.last_heartbeat_at.isoformat() if row.last_heartbeat_at else None,
    }


def summary_line(summary: dict[str, Any]) -> str:
    """Return the health summary as a line."""
    counts = ", ".join(f"{summary[status]} {status}" for status in SEVERITY if summary[status])
    line = f"{summary['total_services']} instances: {counts or 'none'}; {summary['in_maintenance']} in maintenance"
    frozen = summary["self_preservation"]
    return f"{line}. The hub suspects itself: {frozen}" if frozen else line
