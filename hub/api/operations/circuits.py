"""Circuit breakers: how they stand, and an operator's word over them."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Query, Router

from hub.api import paging
from hub.api.bearer import actor
from hub.api.bodies import Body
from hub.api.offer import listing, operation
from hub.api.paging import Paged
from hub.api.scopes import Scope
from hub.circuits import breaker, history, services
from hub.circuits.policy import CircuitState

router = Router(tags=["circuits"])


class Why(Body):
    """For whoever is on call next."""

    reason: str


class Force(Why):
    """Which state, and for how many seconds."""

    state: Literal["forced_open", "forced_closed", "metrics_only"]
    for_sec: float = services.DEFAULT_FORCE_SEC


@listing(router, "/circuits")
def list_circuits(request: HttpRequest, query: Query[Paged]) -> dict[str, Any]:
    """List the breakers of the fleet by name."""
    begin = paging.after(query.cursor)
    services.check_shared()
    found = sorted((one for one in services.all_states() if one.service_name > begin), key=lambda one: one.service_name)
    page, cursor = paging.cut(found, query.limit, lambda one: [one.service_name])
    return {"items": [one.as_dict() for one in page], "next": cursor}


@operation(router, "GET", "/circuits/{service_name}", Scope.READ)
def show_circuit(request: HttpRequest, service_name: str) -> dict[str, Any]:
    """Show how a breaker stands; one that was never used is closed."""
    return breaker.look(service_name).as_dict()


@operation(router, "POST", "/circuits/{service_name}/force", Scope.CIRCUITS_OPERATE)
def force_circuit(request: HttpRequest, service_name: str, body: Force) -> dict[str, Any]:
    """Put a manual state over a breaker, for the whole fleet and for a time."""
    seen = services.force(service_name, CircuitState(body.state), by=actor(request), why=body.reason, for_sec=body.for_sec)
    history.record_transitions()
    return seen.as_dict()


@operation(router, "POST", "/circuits/{service_name}/reset", Scope.CIRCUITS_OPERATE)
def reset_circuit(request: HttpRequest, service_name: str, body: Why) -> dict[str, Any]:
    """Close a breaker and forget what it counted."""
    seen = services.reset(service_name, by=actor(request), why=body.reason)
    history.record_transitions()
    return seen.as_dict()
