"""Spans of any layer's OpenTelemetry SDK: OTLP over HTTP, protobuf or JSON, to our values."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from hub.errors import ErrorCode, IntegrationError
from hub.telemetry.context import TraceContext, format_traceparent, is_span_id, is_trace_id
from hub.telemetry.pipeline import QUEUE_LIMIT
from hub.telemetry.values import KINDS, MAX_NAME, TraceSpan

PROTOBUF, JSON = "application/x-protobuf", "application/json"
MAX_SPANS = QUEUE_LIMIT
MAX_DEPTH = 8
MAX_FUTURE = timedelta(minutes=5)
_STATUS = ("unset", "ok", "error")
_EPOCH = datetime.fromtimestamp(0, UTC)
_HEX_FIELDS = ("traceId", "spanId", "parentSpanId")


def parse(body: bytes, content_type: str) -> ExportTraceServiceRequest:
    """Return the request in `body`; E11904 when it is none, E11910 for a content type that is neither form."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (PROTOBUF, JSON):
        raise IntegrationError(ErrorCode.CONTENT_TYPE_UNSUPPORTED, f"content type must be {PROTOBUF} or {JSON}")
    try:
        found = ExportTraceServiceRequest()
        if kind == PROTOBUF:
            found.ParseFromString(body)
        else:
            ParseDict(_with_binary_ids(json.loads(body)), found, ignore_unknown_fields=True)
    except (DecodeError, ParseError, ValueError, TypeError, AttributeError, RecursionError) as exc:
        raise IntegrationError(ErrorCode.JSON_MALFORMED, f"the body is no OTLP trace request: {type(exc).__name__}") from exc
    return found


def _with_binary_ids(value: Any) -> Any:
    """Return OTLP's JSON, whose ids are hex, as protobuf's JSON, whose bytes are base64."""
    if isinstance(value, list):
        return [_with_binary_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(bytes.fromhex(item)).decode() if key in _HEX_FIELDS else _with_binary_ids(item) for key, item in value.items()
    }


def spans_of(request: ExportTraceServiceRequest) -> tuple[list[TraceSpan], int]:
    """Return the spans of a request, and how many of it were refused: malformed, too large, in the future, or more than a queue holds."""
    accepted: list[TraceSpan] = []
    refused = 0
    for service, span in _all(request):
        value = _value(service, span) if len(accepted) < MAX_SPANS else None
        if value is None or _is_yet_to_come(value):
            refused += 1
        else:
            accepted.append(value)
    return accepted, refused


def _is_yet_to_come(span: TraceSpan) -> bool:
    """Tell whether a span would be the newest for long, and so keep the quota from those that are: some clock is wrong."""
    latest = datetime.now(UTC) + MAX_FUTURE
    return any(isinstance(moment, datetime) and moment > latest for moment in (span.start, span.end))


def _all(request: ExportTraceServiceRequest) -> Iterator[tuple[str, WireSpan]]:
    for resource in request.resource_spans:
        service = str(_attributes(resource.resource.attributes).get("service.name", ""))[:MAX_NAME]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield service, span


def _value(service: str, span: WireSpan) -> TraceSpan | None:
    try:
        return TraceSpan(
            span_name=span.name[:MAX_NAME] or "unnamed",
            service_name=service,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_span_id=span.parent_span_id.hex(),
            kind=KINDS[max(span.kind - 1, 0)],
            start=_moment(span.start_time_unix_nano),
            # As for the hub's own spans: what took less than nothing, by a clock that was set back, took no time.
            end=_moment(max(span.start_time_unix_nano, span.end_time_unix_nano)),
            status=_STATUS[span.status.code],
            status_message=span.status.message,
            attributes=_attributes(span.attributes),
            links=_links(span),
            events=[
                {"name": event.name, "time": _moment(event.time_unix_nano).isoformat(), "attributes": _attributes(event.attributes)}
                for event in span.events
            ],
        )
    except (IntegrationError, IndexError, OverflowError):
        return None


def _links(span: WireSpan) -> list[str]:
    pairs = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
    return [format_traceparent(TraceContext(trace_id=one, span_id=two)) for one, two in pairs if is_trace_id(one) and is_span_id(two)]


def _moment(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _plain(pair.value) for pair in pairs}


def _plain(value: AnyValue) -> Any:
    # Attributes are flat here: a nested object is kept as its text.
    found = _nested(value, 0)
    return [_flat(item) for item in found] if isinstance(found, list) else _flat(found)


def _flat(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) else value


def _nested(value: AnyValue, depth: int) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if depth > MAX_DEPTH:
        return f"[nested deeper than {MAX_DEPTH}]"
    if kind == "array_value":
        return [_nested(item, depth + 1) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _nested(pair.value, depth + 1) for pair in value.kvlist_value.values}
    if kind == "double_value" and not math.isfinite(value.double_value):
        return str(value.double_value)  # no JSON has it, and Postgres refuses it
    return value.bytes_value.hex() if kind == "bytes_value" else getattr(value, kind)
