"""Requests: send one to a service or to many, and see how they ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Query, Router
from ninja.params.functions import Header
from pydantic import Field

from hub.api import paging, room
from hub.api.bodies import Body
from hub.api.keys import key_of
from hub.api.offer import listing, operation, row_id
from hub.api.paging import Paged
from hub.api.scopes import Scope
from hub.errors import ErrorCode, IntegrationError
from hub.routing import broadcast, services
from hub.routing.arguments import DEADLINE_HEADER, read_deadline, read_seconds_left
from hub.routing.context import RequestContext
from hub.routing.models import RoutedRequest
from hub.telemetry import tracing

router = Router(tags=["requests"])


class Wish(Body):
    """What is asked, without of whom; `timeout` is in seconds, `deadline` ISO 8601 with a zone."""

    method: str
    path: str
    data: Any = None
    params: dict[str, Any] | None = None
    headers: dict[str, str] | None = None
    timeout: float | None = None
    deadline: str | float | None = None


class RequestWish(Wish):
    """One request."""

    service_name: str
    idempotency_key: str | None = None


class BroadcastWish(Wish):
    """The same request to each; `policy` is all, any, majority or first:n."""

    service_names: list[str]
    policy: str = "all"


class RequestFilter(Paged):
    """Which requests."""

    service_name: str = Field("", max_length=64)
    outcome: Literal["ok", "answered", "nothing_sent", "unknown"] | None = None
    trace_id: str = Field("", max_length=32)
    correlation_id: str = Field("", max_length=128)


@operation(router, "POST", "/requests", Scope.REQUESTS_SEND)
def send_request(
    request: HttpRequest, body: RequestWish, idempotency_key: str | None = Header(None, alias="Idempotency-Key")
) -> dict[str, Any]:
    """Route a request to a service and answer what came of it.

    It is sent from here, and this call waits for it: at most as long as `timeout` and the hub's own limit say.
    """
    given = body.model_dump() | {"idempotency_key": key_of(idempotency_key, body.idempotency_key), **_circumstances(request, body)}
    with room.one_call():
        return services.route(**given).as_dict()


@operation(router, "POST", "/broadcasts", Scope.REQUESTS_SEND)
def send_broadcast(request: HttpRequest, body: BroadcastWish) -> dict[str, Any]:
    """Send a request to many services; answer the outcome of each, by name."""
    with room.one_call():
        outcomes = broadcast.broadcast(**body.model_dump() | _circumstances(request, body))
    return {name: outcome.as_dict() for name, outcome in outcomes.items()}


@listing(router, "/requests")
def list_requests(request: HttpRequest, query: Query[RequestFilter]) -> dict[str, Any]:
    """List how requests ended, newest first."""
    wanted = query.model_dump(include={"service_name", "outcome", "trace_id", "correlation_id"})
    rows = RoutedRequest.objects.filter(**{name: value for name, value in wanted.items() if value})
    page, cursor = paging.newest_first(rows, query, "id")
    return {"items": [_as_json(row) for row in page], "next": cursor}


@operation(router, "GET", "/requests/{path:request_id}", Scope.READ)
def show_request(request: HttpRequest, request_id: str) -> dict[str, Any]:
    """Show how one request ended, and each of its tries."""
    row = RoutedRequest.objects.filter(pk=row_id(request_id)).first()
    if row is None:
        raise IntegrationError(ErrorCode.REQUEST_NOT_FOUND, f"no request {request_id}")
    return _as_json(row) | {"decision": row.decision}


def _circumstances(request: HttpRequest, body: Wish) -> dict[str, Any]:
    """Return what the call itself says: its trace, in which this operation's span comes next, and its deadline."""
    context = RequestContext.from_headers({**request.headers, **tracing.headers()})
    return {"context": context, "deadline": _deadline(body.deadline, request.headers.get(DEADLINE_HEADER))}


def _deadline(given: str | float | None, seconds_left: str | None) -> datetime | None:
    """Return the earlier of the body's deadline and what is left of that of the caller's own caller."""
    left = read_seconds_left(seconds_left)
    around = None if left is None else datetime.now(UTC) + timedelta(seconds=left)
    return min(filter(None, (read_deadline(given), around)), default=None)


_COLUMNS = (
    "service_name", "service_id", "method", "path", "status_code", "code", "outcome", "attempts", "duration_ms",
    "trace_id", "correlation_id", "idempotency_key",
)  # fmt: skip


def _as_json(row: RoutedRequest) -> dict[str, Any]:
    return {"id": row.pk, **{name: getattr(row, name) for name in _COLUMNS}, "ended_at": row.created_at.isoformat()}
