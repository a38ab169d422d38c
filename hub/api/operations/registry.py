"""Services: who is there, how they are, and what layers say of themselves."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import Field

from hub.api import paging, room
from hub.api.bearer import actor
from hub.api.bodies import Body
from hub.api.offer import listing, operation
from hub.api.paging import Paged
from hub.api.scopes import Scope
from registry_app import lookup, maintenance, overview, prober, services
from registry_app.models import Service
from registry_app.values import ServiceInfo, check_name

router = Router(tags=["services"])


class ServiceFilter(Paged):
    """Which instances."""

    service_name: str = Field("", max_length=64)
    status: Literal["healthy", "degraded", "unhealthy", "unknown"] | None = None


class Speaker(Body):
    """Who speaks for the instance, and of which generation: as when it was registered."""

    owner: str | None = None
    generation: int = 0


class Registration(Speaker):
    """An instance, as the task `hub.registry.register` takes it."""

    service: dict[str, Any]


class Leave(Speaker):
    """Why it leaves."""

    reason: str = "deregistered by its layer"


class MaintenanceWish(Body):
    """How long, and why."""

    minutes: float = 30
    reason: str = Field(min_length=1)


@listing(router, "/services")
def list_services(request: HttpRequest, query: Query[ServiceFilter]) -> dict[str, Any]:
    """List registered instances by id."""
    rows = Service.objects.filter(deregistered_at=None, service_id__gt=paging.after(query.cursor))
    rows = rows.filter(service_name=query.service_name) if query.service_name else rows
    rows = rows.filter(status=query.status) if query.status else rows
    page, cursor = paging.cut(list(rows.order_by("service_id")[: query.limit + 1]), query.limit, lambda row: [row.service_id])
    return {"items": [overview.as_json(row) for row in page], "next": cursor}


@operation(router, "POST", "/services", Scope.SERVICES_WRITE)
def register_service(request: HttpRequest, body: Registration) -> dict[str, Any]:
    """Register an instance, or say again what it is."""
    return services.register(ServiceInfo.from_dict(body.service), owner=body.owner, generation=body.generation).to_dict()


@operation(router, "GET", "/services/{service_id}", Scope.READ)
def show_service(request: HttpRequest, service_id: str) -> dict[str, Any]:
    """Show an instance with all that is known of its health."""
    return overview.as_json(services.live_row(service_id))


@operation(router, "GET", "/lookups/{service_name}", Scope.READ)
def look_up_service(request: HttpRequest, service_name: str, version: str | None = None) -> dict[str, Any]:
    """Say which instance the next request to a service would go to."""
    return lookup.choose(check_name(service_name), version=version, for_requests=False).to_dict()


@operation(router, "POST", "/services/{service_id}/deregister", Scope.SERVICES_WRITE)
def deregister_service(request: HttpRequest, service_id: str, body: Leave = Leave()) -> dict[str, Any]:  # noqa: B008
    """Take an instance out of the registry."""
    reason = f"{body.reason} ({actor(request)})"
    return services.deregister(service_id, owner=body.owner, generation=body.generation, reason=reason).to_dict()


@operation(router, "POST", "/services/{service_id}/heartbeat", Scope.SERVICES_WRITE)
def beat_service(request: HttpRequest, service_id: str, body: Speaker = Speaker()) -> dict[str, Any]:  # noqa: B008
    """Take note that an instance is alive."""
    return services.heartbeat(service_id, owner=body.owner, generation=body.generation).to_dict()


@operation(router, "POST", "/services/{service_id}/probe", Scope.SERVICES_WRITE)
def probe_service(request: HttpRequest, service_id: str) -> dict[str, Any]:
    """Probe an instance now; answers when its checks have."""
    services.live_row(service_id)
    with room.one_call():
        return {"service_id": service_id, "status": prober.probe_now(service_id)}


@operation(router, "PUT", "/services/{service_id}/maintenance", Scope.SERVICES_WRITE)
def begin_maintenance(request: HttpRequest, service_id: str, body: MaintenanceWish) -> dict[str, Any]:
    """Take an instance out of routing for a while."""
    until = maintenance.begin(service_id, minutes=body.minutes, reason=body.reason, by=actor(request))
    return {"service_id": service_id, "maintenance_until": until.isoformat()}


@operation(router, "DELETE", "/services/{service_id}/maintenance", Scope.SERVICES_WRITE)
def end_maintenance(request: HttpRequest, service_id: str) -> dict[str, Any]:
    """Put an instance back into routing."""
    maintenance.end(service_id, by=actor(request))
    return {"service_id": service_id, "maintenance_until": None}
