"""What holds for every address below ``/api/``: a span of the caller's trace, and problems instead of pages."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from opentelemetry import trace as otel_trace

from hub.errors import ErrorCode, IntegrationError
from hub.routing.context import RequestContext
from hub.telemetry import conventions, metrics, problems, tracing

log = logging.getLogger(__name__)
PREFIX = "/api/"
_BY_STATUS = {404: ErrorCode.NOT_FOUND, 405: ErrorCode.METHOD_NOT_ALLOWED}
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = _READING | frozenset({"POST", "PUT", "PATCH", "DELETE", "TRACE"})


class ApiEntrance:
    """Middleware, outermost: answers of Django itself become problems too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request; those for other addresses pass untouched."""
        if not request.path_info.startswith(PREFIX):
            return self.get_response(request)
        # A malformed traceparent starts a new trace, as W3C demands; so does a malformed correlation id.
        around = RequestContext.from_headers(request.headers)
        method = request.method if request.method in _METHODS else "OTHER"
        started, parent = time.monotonic(), request.headers.get("traceparent", "")
        attributes = {conventions.HTTP_METHOD: method, conventions.URL_PATH: request.path_info[:512]}
        with (
            tracing.correlated(around.correlation_id),
            tracing.span(f"{method} {PREFIX}", kind="server", traceparent=parent, attributes=attributes) as span,
        ):
            response = self._answer(request)
            route = _route_of(request)
            _note(span, f"{method} {route}", response)
            if method not in _READING:
                _log(request, method, route, response.status_code)
            response["X-Trace-Id"] = tracing.trace_id() or ""
        response["X-Correlation-Id"] = around.correlation_id
        response["Cache-Control"] = "no-store"
        seconds = time.monotonic() - started
        metrics.observe("hub_api_request_seconds", seconds, method=method, route=route, status=response.status_code)
        return response

    def _answer(self, request: HttpRequest) -> HttpResponse:
        try:
            request.get_host()
        except DisallowedHost:
            return problems.answer(problems.host_refused())
        if "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
            # No text of ours holds it, and not every database can even be asked for it.
            return problems.answer(IntegrationError(ErrorCode.QUERY_PARAMETER_INVALID, "the address holds the character NUL"))
        response = self.get_response(request)
        if response.status_code < 400 or response.headers.get("Content-Type") == problems.CONTENT_TYPE:
            return response
        code = _BY_STATUS.get(response.status_code, ErrorCode.INTERNAL_ERROR)
        return _instead_of(response, problems.answer(IntegrationError(code)))


def _instead_of(old: HttpResponse, new: HttpResponse) -> HttpResponse:
    """Return the new answer with what Django's middleware said of the old one, such as ``Allow``."""
    for name, value in old.items():
        new.headers.setdefault(name, value)
    new["Content-Length"] = str(len(new.content))
    return new


def _route_of(request: HttpRequest) -> str:
    """Return the address with the names of its parts, of which there are few; no caller can make more."""
    return f"/{request.resolver_match.route}" if request.resolver_match else f"{PREFIX}unknown"


def _log(request: HttpRequest, method: str, route: str, status: int) -> None:
    """Write down who asked for a change; `auth` is there once ninja has let the caller in."""
    caller = getattr(request, "auth", None)
    log.info("api call", extra={"actor": caller.name if caller else "", "method": method, "route": route, "status": status})


def _note(span: otel_trace.Span, name: str, response: HttpResponse) -> None:
    span.update_name(name)
    span.set_attribute(conventions.HTTP_STATUS, response.status_code)
    if response.status_code >= 500:
        span.set_status(otel_trace.StatusCode.ERROR)
