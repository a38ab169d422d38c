"""Traces, by their id."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from hub.api.offer import operation
from hub.api.scopes import Scope
from hub.errors import ErrorCode, IntegrationError
from hub.telemetry import context, services

router = Router(tags=["traces"])


@operation(router, "GET", "/traces/{trace_id}", Scope.READ)
def show_trace(request: HttpRequest, trace_id: str) -> dict[str, Any]:
    """Show the spans of a trace, oldest first, at most 5,000."""
    if not context.is_trace_id(trace_id):
        raise IntegrationError(ErrorCode.TRACE_ID_INVALID, f"trace id {ascii(trace_id)[:80]} is malformed")
    spans = services.get_trace(trace_id)
    if not spans:
        raise IntegrationError(ErrorCode.TRACE_NOT_FOUND, f"no trace {trace_id}")
    return {"trace_id": trace_id, "spans": [span.to_dict() for span in spans]}
