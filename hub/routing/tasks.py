"""The tasks that layers send: ``hub.requests.route`` and ``hub.requests.broadcast``."""

from __future__ import annotations

import time
from typing import Any

from celery import Task, shared_task

from hub.routing import broadcast as broadcasting
from hub.routing import history, idempotency, services
from hub.routing.arguments import DEADLINE_HEADER, bind, read_deadline
from hub.routing.context import HEADER_NAMES, RequestContext
from hub.telemetry import tracing
from hub.telemetry.celery_headers import SENT_AT
from registry_app.json_fields import is_number

ROUTE = ("service_name", "method", "path", "data", "params", "headers", "timeout", "idempotency_key", "deadline")
BROADCAST = ("service_names", "method", "path", "data", "timeout", "policy", "params", "headers", "deadline")


@shared_task(name="hub.requests.route", bind=True)
def route(self: Task, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Route one request; see `hub.routing.services.route` for arguments, result and errors."""
    found = bind(args, kwargs, names=ROUTE, required=("service_name", "method", "path"))
    return services.route(**found | _from_message(self, found)).as_dict()


@shared_task(name="hub.requests.broadcast", bind=True)
def broadcast(self: Task, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Send one request to many services; see `hub.routing.broadcast.broadcast`."""
    found = bind(args, kwargs, names=BROADCAST, required=("service_names", "method", "path"))
    outcomes = broadcasting.broadcast(**found | _from_message(self, found))
    return {name: outcome.as_dict() for name, outcome in outcomes.items()}


@shared_task(name="hub.control.prune_requests", ignore_result=True)
def prune() -> None:
    """Delete requests and stored answers beyond their retention."""
    history.prune()
    idempotency.prune()


def _from_message(task: Task, found: dict[str, Any]) -> dict[str, Any]:
    """Return what the message itself says: its context, its deadline, and how long it waited."""
    headers = {name: value for name in (*HEADER_NAMES, DEADLINE_HEADER, SENT_AT) if (value := _header(task, name)) is not None}
    deadline = headers.get(DEADLINE_HEADER) if found.get("deadline") is None else found["deadline"]
    return {"context": _context(headers), "deadline": read_deadline(deadline), "queued_sec": _waited_sec(headers.get(SENT_AT))}


def _waited_sec(sent_at: object) -> float:
    """Return how long a message waited; 0 when it does not say, for any client may write anything there."""
    return max(0.0, time.time() - sent_at) if is_number(sent_at) and sent_at > 0 else 0.0


def _context(headers: dict[str, Any]) -> RequestContext | None:
    """Return the context of the message, its span being the running task's; E11310 for a malformed ``traceparent``."""
    if not {"traceparent", "x-correlation-id"} & set(headers):
        return None
    found = RequestContext.from_headers(headers, strict=True)
    running = tracing.traceparent()
    return found.child(running) if running else found


def _header(task: Task, name: str) -> Any:
    found = (task.request.headers or {}).get(name)
    return getattr(task.request, name, None) if found is None else found
