"""Route requests to registered services: this room's face for the rooms above, sync and typed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError

from hub.errors import ErrorCode, IntegrationError, RequestFailed
from hub.outages import outage
from hub.routing import endings, history, idempotency
from hub.routing import request as requests
from hub.routing.attempts import Run
from hub.routing.context import RequestContext
from hub.routing.models import KeptAnswer
from hub.routing.request import Limits, Request
from hub.routing.values import RouteResult
from hub.telemetry import tracing
from hub.telemetry.sealing import is_unopened
from hub.telemetry.secrets import hides_key
from registry_app.values import check_name


def route(
    service_name: str,
    method: str,
    path: str,
    *,
    data: Any = None,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    idempotency_key: str | None = None,
    context: RequestContext | None = None,
    prefer_service_id: str | None = None,
    extra_headers: Mapping[str, str] | None = None,
    deadline: datetime | None = None,
    queued_sec: float = 0.0,
) -> RouteResult:
    """Send a request to an instance of a service and return its good answer.

    `timeout` (seconds) covers everything, retries included; `deadline` is the caller's own and ends it earlier.
    `prefer_service_id` names the instance that served before; `extra_headers` are the hub's own and not checked.

    Errors: those of `hub.routing.request.build`; E11020, E11024 and E11025 from the registry; E11309 too late;
    CircuitOpen (E11220, E11221, E11223); RequestFailed, whose ``outcome`` is nothing_sent, unknown or answered.
    """
    request = build(
        service_name=service_name,
        method=method,
        path=path,
        data=data,
        params=params,
        headers=headers,
        timeout=timeout,
        idempotency_key=idempotency_key,
    )
    run = Run(
        request=request,
        context=context_of(request, context),
        deadline=time.monotonic() + time_allowed(request.timeout_sec, deadline),
        prefer_service_id=prefer_service_id,
        extra_headers=dict(extra_headers or {}),
        queued_ms=queued_sec * 1000,
    )
    return _once(run) if request.idempotency_key else _send(run)


def _send(run: Run) -> RouteResult:
    ending = endings.conclude(run)
    history.record([ending], breaker_moved=run.breaker_moved)
    return ending.value()


def _once(run: Run) -> RouteResult:
    kept = _claim(run)
    if kept is not None:
        return _from_kept(run, kept.answer or {})
    answer = None
    try:
        result = _send(run)
        answer = result.as_dict()
    finally:
        idempotency.keep(run, answer)
    return result


def _claim(run: Run) -> KeptAnswer | None:
    """Claim the key; without the database that tells whether it was sent before, nothing is sent (E11940, or what else is wrong)."""
    try:
        return idempotency.claim(run)
    except DatabaseError as exc:
        if (known := outage(exc)) is None:
            raise
        raise known from exc


def _from_kept(run: Run, answer: dict[str, Any]) -> RouteResult:
    """Return the first answer, with the trace and the decision of the request that brought it; E11325 if it cannot be opened."""
    if is_unopened(answer):
        raise RequestFailed(
            ErrorCode.KEPT_ANSWER_UNREADABLE,
            f"{run.request.service_name} gave a good answer under this key, which cannot be opened any more",
            recovery_suggestion="ask the service what became of it, or set HUB_SECRET_KEY to what it was",
            outcome="unknown",
        )
    return RouteResult(**answer | {"decision": {**answer["decision"], "kept": True}})


def build(**arguments: Any) -> Request:
    """Check the arguments of a request against the settings; see `hub.routing.request.build`."""
    hub = settings.HUB
    limits = Limits(
        timeout_sec=hub.request_timeout_sec,
        max_timeout_sec=hub.request_max_timeout_sec,
        max_body_bytes=hub.request_max_body_bytes,
    )
    request = requests.build(**arguments, limits=limits)
    check_name(request.service_name)
    if request.idempotency_key and hides_key(request.idempotency_key):
        raise IntegrationError(ErrorCode.IDEMPOTENCY_KEY_INVALID, "the idempotency key looks like a secret; keys are kept and shown")
    if "authorization" in request.headers and hub.credential_of(request.service_name):
        raise IntegrationError(ErrorCode.HEADER_REFUSED, f"{request.service_name} has a credential of its own; it is set by the hub only")
    return request


def context_of(request: Request, given: RequestContext | None) -> RequestContext:
    """Return what a request belongs to: what its headers say, else what was given, else the running work, else a new trace."""
    around = given.to_headers() if given else tracing.headers()
    return RequestContext.from_headers(around | request.context_headers, strict=True)


def time_allowed(timeout_sec: float, deadline: datetime | None) -> float:
    """Return the seconds that a request may take; E11309 when the caller's deadline has passed, E11909 for one without a zone."""
    if deadline is None:
        return timeout_sec
    if not isinstance(deadline, datetime) or deadline.tzinfo is None:
        raise IntegrationError(ErrorCode.TIME_MALFORMED, f"deadline {deadline!r:.60} must be a datetime with its zone")
    left = (deadline - datetime.now(UTC)).total_seconds()
    if left <= 0:
        raise IntegrationError(
            ErrorCode.DEADLINE_PASSED,
            f"the deadline passed {-left:.1f} s ago; nothing was sent",
            recovery_suggestion="ask again, if it still matters",
        )
    return min(timeout_sec, left)
