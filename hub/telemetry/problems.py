"""Refusals over HTTP: one JSON body for all entrances (RFC 9457, ``application/problem+json``)."""

from __future__ import annotations

import math
from typing import Any

from django.http import JsonResponse

from hub.errors import ErrorCode, IntegrationError
from hub.telemetry import tracing

CONTENT_TYPE = "application/problem+json"


def body(exc: IntegrationError) -> dict[str, Any]:
    """Return ``{type, title, status, detail, code, retry, trace_id}`` and, where known, what helps: ``suggestion``,
    ``outcome`` (of a request), ``status_code`` and ``body`` (of the service), ``retry_after_sec``.
    """
    found = {
        "type": "about:blank",
        "title": exc.code.text,
        "status": exc.code.http,
        "detail": exc.message,
        "code": str(exc.code),
        "retry": exc.code.retry,
        "trace_id": tracing.trace_id(),
        "suggestion": exc.recovery_suggestion,
        "outcome": getattr(exc, "outcome", None),
        "status_code": getattr(exc, "status_code", None),
        "body": exc.details.get("body"),
        "retry_after_sec": _retry_after_sec(exc),
    }
    return {name: value for name, value in found.items() if value is not None}


def answer(exc: IntegrationError) -> JsonResponse:
    """Return the refusal as an answer, with ``Retry-After`` and ``WWW-Authenticate`` where they belong."""
    response = JsonResponse(body(exc), status=exc.code.http, content_type=CONTENT_TYPE)
    wait = _retry_after_sec(exc)
    if wait is not None:
        response["Retry-After"] = str(max(1, math.ceil(wait)))
    if exc.code.http == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def host_refused() -> IntegrationError:
    """Return the refusal of a call whose ``Host`` is none of the hub's names (E11985)."""
    todo = "name the host of the address in HUB_ALLOWED_HOSTS and start the web process again; a probe may send the header Host: localhost"
    return IntegrationError(ErrorCode.HOST_REFUSED, recovery_suggestion=todo)


def _retry_after_sec(exc: IntegrationError) -> float | None:
    found = getattr(exc, "retry_after_sec", None)
    return exc.details.get("retry_after_sec") if found is None else found
