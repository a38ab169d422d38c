"""``integration.request_orchestrator``: the async face of this room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hub.aio import in_waiting_thread
from hub.routing import broadcast, services
from hub.routing.context import RequestContext
from hub.routing.values import RouteResult


class RequestOrchestrator:
    """Call services by name; the hub finds an instance, guards the call and traces it."""

    async def route_request(
        self,
        service_name: str,
        method: str,
        path: str,
        data: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        context: RequestContext | None = None,
        timeout: float | None = None,
        **more: Any,
    ) -> Any:
        """Return the decoded body of a good answer; see `hub.routing.services.route` for `more`, e.g. ``idempotency_key``, and errors."""
        common = {"data": data, "params": params, "headers": headers, "context": context, "timeout": timeout}
        return (await self.route(service_name, method, path, **common, **more)).body

    async def route(self, service_name: str, method: str, path: str, **options: Any) -> RouteResult:
        """Return the whole record of a good answer: status, headers, body, instance, attempts, decision."""
        return await in_waiting_thread(services.route, service_name, method, path, **options)

    async def broadcast_request(
        self,
        service_names: Sequence[str],
        method: str,
        path: str,
        data: Any = None,
        timeout: float | None = None,
        policy: str = "all",
        **more: Any,
    ) -> dict[str, dict[str, Any]]:
        """Return ``{service_name: {ok, outcome, response or error}}``; see `hub.routing.broadcast.broadcast` for `more` and errors."""
        common = {"data": data, "timeout": timeout, "policy": policy}
        is_many = isinstance(service_names, Iterable) and not isinstance(service_names, str | bytes)
        names = list(service_names) if is_many else service_names  # what is no list is refused with its own type
        outcomes = await in_waiting_thread(broadcast.broadcast, names, method, path, **common, **more)
        return {name: outcome.as_dict() for name, outcome in outcomes.items()}
