"""The registry's doings: register, deregister, heartbeat, and what is registered.

An instance is (name, endpoint). Registering it again changes what it says about itself, never what is known of its
health. `ownership` says who may speak for it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, Q

from hub import database_clock
from hub.errors import ErrorCode, IntegrationError
from hub.json_values import storable
from registry_app import addresses, announce, endpoints, history, ownership, preservation, state
from registry_app.checks import HealthCheckType
from registry_app.convert import check_of, described, info_of
from registry_app.models import HealthChange, Service
from registry_app.rules import Health
from registry_app.values import ServiceInfo, ServiceStatus

MAX_INSTANCES = 200
MAX_PAGE = 500
Kind = HealthChange.Kind


def register(info: ServiceInfo, *, owner: str | None = None, generation: int = 0) -> ServiceInfo:
    """Register an instance, or say again what it is; return it as it now stands.

    Errors: E11080 to E11082 the address is refused, E11021 and E11083 the name belongs to another owner, E11023 a newer
    generation is registered, E11060 and E11061 there are too many, E11902 what is no ServiceInfo.
    """
    if not isinstance(info, ServiceInfo):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"a service must be a ServiceInfo, not {type(info).__name__}")
    _check_addresses(info)
    who = ownership.check_owner(owner)
    try:
        with transaction.atomic():
            row = _register(info, who, ownership.check_generation(generation))
    except IntegrityError:
        # Two processes registered the same new instance at once: the other was first, so now this is a repetition.
        with transaction.atomic():
            row = _register(info, who, generation)
    return info_of(row)


def _register(info: ServiceInfo, owner: str, generation: int) -> Service:
    now = database_clock.moment()
    ownership.claim_name(info.service_name, owner, now)
    row = Service.objects.filter(service_id=info.service_id).first()
    if row is None:
        return _add(info, owner, generation, now)
    if row.deregistered_at is not None:
        return _bring_back(row, info, owner, generation, now)
    return _update(row, info, owner, generation, now)


def _add(info: ServiceInfo, owner: str, generation: int, now: datetime) -> Service:
    _check_limits(info.service_name)
    row = Service.objects.create(
        service_id=info.service_id,
        service_name=info.service_name,
        endpoint=info.endpoint,
        owner=owner,
        generation=generation,
        registered_at=now,
        status_since=now,
        reason=Health().reason,
        next_probe_at=now,
        **described(info),
    )
    _record(row, Kind.REGISTERED, old_status=row.status, reason="registered", now=now)
    return row


def _bring_back(row: Service, info: ServiceInfo, owner: str, generation: int, now: datetime) -> Service:
    _check_limits(info.service_name)
    fresh = {"status": ServiceStatus.UNKNOWN.value, "reason": Health().reason, "status_since": now, "failing_since": None}
    counters = {"successes": 0, "failures": 0, "slow_answers": 0, "witnesses": {}, "last_heartbeat_at": None}
    old_status = row.status
    # A clean stop ends a generation: what comes after may count anew.
    _change(
        Service.objects.filter(pk=row.pk, deregistered_at__isnull=False),
        row,
        {**described(info), **fresh, **counters, "owner": owner, "generation": generation, "deregistered_at": None}
        | {"registered_at": now, "next_probe_at": now, "health_seq": row.health_seq + 1},
    )
    _record(row, Kind.REGISTERED, old_status=old_status, reason="registered again", now=now)
    return row


def _update(row: Service, info: ServiceInfo, owner: str, generation: int, now: datetime) -> Service:
    if generation < row.generation:
        raise ownership.generation_is_over(ErrorCode.REGISTRATION_STALE, row, generation)
    said = described(info)
    changes = {key: value for key, value in said.items() if getattr(row, key) != value}
    if not changes and (row.owner, row.generation) == (owner, generation):
        return row  # Said again without a change: nothing to write, and nobody to tell.
    look = {"next_probe_at": _first_look(info, now)} if "health_check" in changes else {}
    same = Service.objects.filter(pk=row.pk, deregistered_at=None, generation__lte=generation)
    if not _change(same, row, {**changes, **look, "owner": owner, "generation": generation}):
        raise ownership.generation_is_over(ErrorCode.REGISTRATION_STALE, row, generation)
    if changes:
        _record(row, Kind.UPDATED, old_status=row.status, reason=f"changed: {', '.join(sorted(changes))}", now=now)
    return row


def _first_look(info: ServiceInfo, now: datetime) -> datetime:
    """By a new check it is looked at at once; but a promise to beat is broken only when its first time to live is over."""
    check = info.health_check
    return now + timedelta(seconds=check.ttl_sec) if check and check.check_type is HealthCheckType.TTL else now


def deregister(
    service_id: str, *, owner: str | None = None, generation: int = 0, reason: str = "deregistered by its layer", force: bool = False
) -> ServiceInfo:
    """Take an instance out of the registry; doing so twice is harmless.

    Errors: E11022 no such instance, E11083 it belongs to another owner, E11023 a newer generation is registered.
    """
    row = _row(service_id)
    if row.deregistered_at is not None:
        return info_of(row)
    if not force:
        ownership.check_may_speak(row, owner, generation, foreign=ErrorCode.REGISTER_NOT_PERMITTED, stale=ErrorCode.REGISTRATION_STALE)
    now = database_clock.moment()
    with transaction.atomic():
        same = Service.objects.filter(pk=row.pk, deregistered_at=None, generation=row.generation)
        if _change(same, row, {"deregistered_at": now, "next_probe_at": None, "failing_since": None}):
            _record(row, Kind.DEREGISTERED, old_status=row.status, reason=reason, now=now)
    return info_of(row)


def heartbeat(service_id: str, *, owner: str | None = None, generation: int = 0) -> ServiceInfo:
    """Take note that an instance is alive.

    Errors: E11821 no such instance, E11881 it belongs to another owner, E11822 a newer generation is registered.
    """
    row = _found(service_id)
    if row is None or row.deregistered_at is not None:
        raise IntegrationError(
            ErrorCode.HEARTBEAT_UNKNOWN_INSTANCE, f"no instance {service_id!r:.80} is registered", recovery_suggestion="register it again"
        )
    ownership.check_may_speak(row, owner, generation, foreign=ErrorCode.HEARTBEAT_NOT_PERMITTED, stale=ErrorCode.HEARTBEAT_STALE)
    now = database_clock.moment()
    changes: dict[str, Any] = {"last_heartbeat_at": now}
    if row.check_type == HealthCheckType.TTL:
        changes["next_probe_at"] = _next_look_after_beat(row, now)
    Service.objects.filter(pk=row.pk, deregistered_at=None).update(**changes)
    return info_of(row)


def _next_look_after_beat(row: Service, now: datetime) -> datetime:
    """One that is well is looked at when its time to live is over; any other, also who is held at healthy, at once: the beat is news."""
    check, is_well = check_of(row), row.status == ServiceStatus.HEALTHY and row.failing_since is None
    return now + timedelta(seconds=check.ttl_sec) if check and is_well else now


def get(service_id: str) -> ServiceInfo:
    """Return an instance that is registered; E11022 when it is not."""
    return info_of(live_row(service_id))


def get_by_name(service_name: str) -> ServiceInfo:
    """Return the best instance of a service: not in maintenance, the healthiest, the one with the largest weight; E11020 without any."""
    rows = list(Service.objects.filter(service_name=storable(service_name), deregistered_at=None)[:MAX_INSTANCES])
    if not rows:
        raise IntegrationError(
            ErrorCode.SERVICE_NOT_FOUND, f"no service {service_name!r:.80} is registered", recovery_suggestion="register it"
        )
    return info_of(min(rows, key=partial(_place, database_clock.moment())))


def _place(now: datetime, row: Service) -> tuple[Any, ...]:
    in_maintenance = row.maintenance_until is not None and row.maintenance_until > now
    return in_maintenance, _BEST_FIRST.index(ServiceStatus(row.status)), -row.weight, row.service_id


_BEST_FIRST = [ServiceStatus.HEALTHY, ServiceStatus.DEGRADED, ServiceStatus.UNKNOWN, ServiceStatus.UNHEALTHY]


def all_services(*, after: str = "", limit: int = MAX_PAGE) -> list[ServiceInfo]:
    """Return a page of what is registered, ordered by id; `after` is the last id of the page before."""
    rows = Service.objects.filter(deregistered_at=None, service_id__gt=after).order_by("service_id")
    return [info_of(row) for row in rows[: min(limit, MAX_PAGE)]]


def health_summary() -> dict[str, Any]:
    """Return how many instances stand how: the four statuses, in percent, in maintenance, and whether the hub suspects itself."""
    now, live = database_clock.moment(), Service.objects.filter(deregistered_at=None)
    counts = dict(live.order_by().values_list("status").annotate(Count("pk")))
    total = sum(counts.values())
    return {
        "total_services": total,
        **{status.value: counts.get(status.value, 0) for status in ServiceStatus},
        "health_percentage": round(100 * counts.get("healthy", 0) / total, 1) if total else 0.0,
        "in_maintenance": live.filter(maintenance_until__gt=now).count(),
        "self_preservation": preservation.active_reason(at=now),
    }


def _check_addresses(info: ServiceInfo) -> None:
    addresses.check_endpoint(endpoints.parse_endpoint(info.endpoint), addresses.current_policy())
    if info.health_check:
        addresses.check_target(info.health_check)


def _check_limits(service_name: str) -> None:
    live = Service.objects.filter(deregistered_at=None).aggregate(all=Count("pk"), same=Count("pk", filter=Q(service_name=service_name)))
    if live["all"] >= settings.HUB.registry_max_services:
        said = f"{live['all']} instances are registered, the limit is reached"
        raise IntegrationError(ErrorCode.TOO_MANY_SERVICES, said, recovery_suggestion=f"{_MAKE_ROOM}, or raise HUB_REGISTRY_MAX_SERVICES")
    if live["same"] >= MAX_INSTANCES:
        said = f"{service_name} has {live['same']} instances, the limit is reached"
        raise IntegrationError(ErrorCode.TOO_MANY_INSTANCES, said, recovery_suggestion=_MAKE_ROOM)


_MAKE_ROOM = "take out those that are gone (manage.py services deregister), and give their checks a deregister_after"


def _change(rows: Any, row: Service, changes: dict[str, Any]) -> bool:
    """Update the row if it is still among `rows`; carry the changes over to the object in hand."""
    if rows.update(**changes) != 1:
        return False
    for name, value in changes.items():
        setattr(row, name, value)
    return True


def _record(row: Service, kind: HealthChange.Kind, *, old_status: str, reason: str, now: datetime) -> None:
    history.record(row, kind, old_status=old_status, reason=reason, at=now)
    state.mark_changed()
    announce.changed(row, kind, old_status=old_status, reason=reason)


def live_row(service_id: str) -> Service:
    """Return the row of an instance that is registered; E11022 when it is not."""
    row = _row(service_id)
    if row.deregistered_at is not None:
        raise _no_instance(service_id)
    return row


def _row(service_id: str) -> Service:
    row = _found(service_id)
    if row is None:
        raise _no_instance(service_id)
    return row


def _found(service_id: str) -> Service | None:
    # An id with NUL or half a character is that of nobody, but no database can be asked for it.
    return Service.objects.filter(service_id=storable(str(service_id))).first()


def _no_instance(service_id: str) -> IntegrationError:
    return IntegrationError(
        ErrorCode.INSTANCE_NOT_FOUND, f"no instance {service_id!r:.80} is registered", recovery_suggestion="register it"
    )
