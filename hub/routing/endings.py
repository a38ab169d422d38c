"""How a request ended: its result or error, its span, its metrics and its row of history."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Span, Status, StatusCode

from hub.errors import CircuitOpen, ErrorCode, IntegrationError, RequestFailed
from hub.routing import attempts
from hub.routing.attempts import Run
from hub.routing.models import RoutedRequest
from hub.routing.values import Answer, RouteResult
from hub.telemetry import conventions, tracing
from hub.telemetry.secrets import redactor
from hub.telemetry.values import Metric

MAX_STORED_PATH = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """Either a result or an error, and what tells of it: the row, the counts and the spans."""

    row: RoutedRequest
    found: RouteResult | IntegrationError
    counts: tuple[Metric, ...] = ()
    spans: tuple[ReadableSpan, ...] = ()

    @property
    def result(self) -> RouteResult | None:
        """Return the result, if it is one."""
        return self.found if isinstance(self.found, RouteResult) else None

    @property
    def error(self) -> IntegrationError | None:
        """Return the error, if it is one."""
        return self.found if isinstance(self.found, IntegrationError) else None

    def value(self) -> RouteResult:
        """Return the result, or raise the error."""
        if isinstance(self.found, IntegrationError):
            raise self.found
        return self.found


def conclude(run: Run) -> Ending:
    """Perform a request to its end, whatever that is; what is raised here is a bug or the end of the process."""
    request = run.request
    attributes = {conventions.HTTP_METHOD: request.method, conventions.URL_PATH: request.path, conventions.SERVICE: request.service_name}
    with (
        tracing.correlated(run.context.correlation_id),
        tracing.collected() as spans,
        tracing.span(
            f"{request.method} {request.service_name}", kind="client", attributes=attributes, traceparent=run.context.traceparent
        ) as span,
    ):
        run.context = run.context.child(tracing.traceparent())
        try:
            ending = _answered(run, attempts.perform(run))
        except IntegrationError as exc:
            ending = _failed(run, exc)
        _describe(span, ending)
    return replace(ending, counts=_counts(run, ending), spans=tuple(spans))


def broken(run: Run, exc: Exception) -> Ending:
    """Return how a request ended that raised what it should not; the log has the rest."""
    error = RequestFailed(ErrorCode.INTERNAL_ERROR, f"{run.request.service_name}: {type(exc).__name__}, see the log", outcome="unknown")
    ending = _failed(run, error)
    return replace(ending, counts=_counts(run, ending))


def _answered(run: Run, answer: Answer) -> Ending:
    decision = _decision(run)
    result = RouteResult(
        status_code=answer.status_code,
        headers=answer.headers,
        body=answer.body,
        service_id=run.attempts[-1].service_id,
        attempts=len(run.attempts),
        duration_ms=_elapsed_ms(run),
        trace_id=run.context.trace_id,
        correlation_id=run.context.correlation_id,
        decision=decision,
    )
    return Ending(found=result, row=_row(run, decision, outcome="ok", status_code=answer.status_code))


def _failed(run: Run, error: IntegrationError) -> Ending:
    refused_by = error.code.name.lower() if isinstance(error, CircuitOpen) else None
    decision = _decision(run, refused_by=refused_by)
    error.details |= {"trace_id": run.context.trace_id, "correlation_id": run.context.correlation_id, "decision": decision}
    outcome = error.outcome if isinstance(error, RequestFailed) else "nothing_sent"
    status_code = getattr(error, "status_code", None)
    return Ending(found=error, row=_row(run, decision, outcome=outcome, status_code=status_code, code=str(error.code)))


def _row(run: Run, decision: dict[str, Any], *, outcome: str, status_code: int | None, code: str = "") -> RoutedRequest:
    request = run.request
    return RoutedRequest(
        service_name=request.service_name,
        service_id=run.attempts[-1].service_id if run.attempts else "",
        method=request.method,
        path=redactor().text(request.path)[:MAX_STORED_PATH],
        status_code=status_code,
        code=code,
        outcome=outcome,
        attempts=len(run.attempts),
        duration_ms=_elapsed_ms(run),
        trace_id=run.context.trace_id,
        correlation_id=redactor().text(run.context.correlation_id)[:128],
        idempotency_key=request.idempotency_key,
        decision=decision,
    )


def _decision(run: Run, *, refused_by: str | None = None) -> dict[str, Any]:
    """Explain the answer: which instance and why, the breaker, each attempt, and where the time went."""
    last = run.attempts[-1] if run.attempts else None
    return {
        "instance": last.service_id if last else None,
        "why": last.why if last else None,
        "breaker": last.breaker if last else refused_by,
        "queued_ms": round(run.queued_ms, 1),
        "connect_ms": round(sum(one.connect_ms for one in run.attempts), 1),
        "server_ms": round(sum(one.server_ms for one in run.attempts), 1),
        "attempts": [one.as_dict() for one in run.attempts],
    }


def _describe(span: Span, ending: Ending) -> None:
    row = ending.row
    if row.status_code:
        span.set_attribute(conventions.HTTP_STATUS, row.status_code)
    if row.attempts > 1:
        span.set_attribute(conventions.HTTP_RESEND_COUNT, row.attempts - 1)
    if row.service_id:
        span.set_attribute(conventions.INSTANCE, row.service_id)
    if ending.error is not None:
        span.set_attribute(conventions.ERROR_TYPE, row.code)
        span.set_status(Status(StatusCode.ERROR, str(ending.error)[:500]))


def _counts(run: Run, ending: Ending) -> tuple[Metric, ...]:
    service = run.request.service_name
    labels = {"service": service, "method": run.request.method, "outcome": _kind(ending)}
    return (
        Metric("hub_requests_total", "counter", 1, labels),
        Metric("hub_request_duration_seconds", "histogram", time.monotonic() - run.started, {"service": service}),
    )


def _kind(ending: Ending) -> str:
    return "circuit_open" if isinstance(ending.error, CircuitOpen) else ending.row.outcome


def _elapsed_ms(run: Run) -> float:
    return round((time.monotonic() - run.started) * 1000, 1)
