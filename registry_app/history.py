"""The history of the registry: what changed, and what it looked like at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, Max, OuterRef

from hub import pruning
from registry_app.models import HealthChange, Service

Kind = HealthChange.Kind


def record(row: Service, kind: HealthChange.Kind, *, old_status: str, reason: str, at: datetime) -> None:
    """Write down a change of an instance, in the transaction of the change."""
    HealthChange.objects.create(
        service=row,
        kind=kind,
        old_status=old_status,
        new_status=row.status,
        reason=reason[:500],
        service_version=row.service_version,
        maintenance_until=row.maintenance_until,
        at=at,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """How an instance stood at a moment."""

    service_id: str
    service_name: str
    service_version: str
    endpoint: str
    status: str
    reason: str
    since: datetime
    in_maintenance: bool


def registry_at(moment: datetime) -> list[Seen]:
    """Return what was registered at a moment, and how it stood, ordered by name; as far back as history is kept."""
    last = HealthChange.objects.filter(at__lte=moment).values("service").annotate(last=Max("pk")).values("last")
    changes = HealthChange.objects.filter(pk__in=last).exclude(kind=Kind.DEREGISTERED).select_related("service")
    return [_seen(change, moment) for change in changes.order_by("service__service_name", "service__endpoint")]


def _seen(change: HealthChange, moment: datetime) -> Seen:
    until = change.maintenance_until
    return Seen(
        service_id=change.service.service_id,
        service_name=change.service.service_name,
        service_version=change.service_version,
        endpoint=change.service.endpoint,
        status=change.new_status,
        reason=change.reason,
        since=change.at,
        in_maintenance=until is not None and until > moment,
    )


def expired(*, now: datetime, keep_days: int) -> pruning.Expired:
    """Return what is older than the retention.

    The last change before the cut stays for each instance that is still there: without it the registry of the oldest
    kept moment would be unknown.
    """
    cut = now - timedelta(days=keep_days)
    later = HealthChange.objects.filter(service=OuterRef("service"), at__lte=cut, pk__gt=OuterRef("pk"))
    return {
        "health_changes": HealthChange.objects.filter(Exists(later), at__lt=cut).order_by("pk"),
        "services_left": Service.objects.filter(deregistered_at__lt=cut).order_by("pk"),
    }


def prune(*, now: datetime, keep_days: int) -> int:
    """Delete what is older than the retention; return how many rows went."""
    return sum(pruning.delete_all(expired(now=now, keep_days=keep_days)).values())
