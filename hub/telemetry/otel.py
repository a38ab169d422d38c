"""OpenTelemetry's spans to our values and back, for the exporters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from hub.telemetry import context
from hub.telemetry.values import MAX_NAME, TraceSpan

KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_KIND_NAMES = {kind: name for name, kind in KINDS.items()}
_STATUS = {"unset": StatusCode.UNSET, "ok": StatusCode.OK, "error": StatusCode.ERROR}
_STATUS_NAMES = {status: name for name, status in _STATUS.items()}
_EPOCH = datetime.fromtimestamp(0, UTC)


def traceparent_of(span_context: SpanContext) -> str:
    """Return the ``traceparent`` of an OpenTelemetry context."""
    trace_id, span_id = f"{span_context.trace_id:032x}", f"{span_context.span_id:016x}"
    return context.format_traceparent(context.TraceContext(trace_id=trace_id, span_id=span_id, sampled=span_context.trace_flags.sampled))


def span_context_of(traceparent: object) -> SpanContext | None:
    """Return the remote context that a ``traceparent`` names, or None when it is not one."""
    found = context.parse(traceparent)
    if found is None:
        return None
    flags = TraceFlags(TraceFlags.SAMPLED if found.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(found.trace_id, 16), int(found.span_id, 16), is_remote=True, trace_flags=flags)


def from_otel(span: ReadableSpan) -> TraceSpan:
    """Return an ended span of OpenTelemetry as a value."""
    return TraceSpan(
        span_name=span.name[:MAX_NAME] or "unnamed",
        service_name=str(span.resource.attributes.get("service.name", ""))[:MAX_NAME],
        trace_id=f"{span.context.trace_id:032x}",
        span_id=f"{span.context.span_id:016x}",
        parent_span_id=f"{span.parent.span_id:016x}" if span.parent else "",
        kind=_KIND_NAMES[span.kind],
        start=_from_ns(span.start_time or 0),
        # A clock that was set back meanwhile: what took less than nothing took no time, and is kept.
        end=_from_ns(max(span.start_time or 0, span.end_time or 0)),
        status=_STATUS_NAMES[span.status.status_code],
        status_message=span.status.description or "",
        attributes=_plain(span.attributes or {}),
        links=tuple(traceparent_of(link.context) for link in span.links),
        events=tuple(
            {"name": event.name, "time": _from_ns(event.timestamp).isoformat(), "attributes": _plain(event.attributes or {})}
            for event in span.events
        ),
    )


def to_otel(span: TraceSpan) -> ReadableSpan:
    """Return a span value as OpenTelemetry's, to be sent on by its exporters."""
    return ReadableSpan(
        name=span.span_name,
        context=_own_context(span.trace_id, span.span_id),
        parent=_own_context(span.trace_id, span.parent_span_id) if span.parent_span_id else None,
        resource=Resource({"service.name": span.service_name}),
        attributes={key: value for key, value in span.attributes.items() if value is not None},
        events=[Event(str(event["name"]), event.get("attributes") or {}, _text_to_ns(event.get("time"))) for event in span.events],
        links=[Link(found) for found in map(span_context_of, span.links) if found is not None],
        kind=KINDS[span.kind],
        status=Status(_STATUS[span.status], span.status_message or None if span.status == "error" else None),
        start_time=_to_ns(span.start),
        end_time=_to_ns(span.end),
    )


def _own_context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(map(_finite, value)) if isinstance(value, tuple) else _finite(value) for key, value in attributes.items()}


def _finite(value: Any) -> Any:
    """Return NaN and the infinities as their names: no JSON has them, and every database refuses them."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _from_ns(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def _to_ns(moment: Any) -> int:
    return ((moment - _EPOCH) // timedelta(microseconds=1)) * 1000 if isinstance(moment, datetime) else 0


def _text_to_ns(text: Any) -> int:
    return _to_ns(datetime.fromisoformat(text)) if isinstance(text, str) else 0
