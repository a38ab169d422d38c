"""The hub's tracer: OpenTelemetry's SDK, built once per process, and the context of the running work.

with tracing.span("route L02_runtime", kind="client") as span:
    headers = tracing.headers()       # traceparent for whoever comes next
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any

from django.conf import settings
from django.db import transaction
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from hub.errors import ErrorCode, IntegrationError
from hub.telemetry import context, conventions, store
from hub.telemetry.ids import new_trace_id
from hub.telemetry.jsonlines import JsonLinesSink
from hub.telemetry.on_demand import SpanOnDemand
from hub.telemetry.otel import KINDS, span_context_of, traceparent_of
from hub.telemetry.pipeline import DATABASE, Sink, SpanPipeline, collecting
from hub.telemetry.redaction import Redactor
from hub.telemetry.secrets import known_secrets
from hub.telemetry.values import MAX_ATTRIBUTES, TraceSpan

SERVICE_NAME = "L11_integration"
MAX_ATTRIBUTE_LENGTH = 2_048
MAX_REMEMBERED_LENGTH = 64

_correlation_id: ContextVar[str] = ContextVar("hub_correlation_id", default="")
_next_span_id: ContextVar[str] = ContextVar("hub_next_span_id", default="")


@contextmanager
def span(
    name: str,
    *,
    kind: str = "internal",
    attributes: Mapping[str, Any] | None = None,
    traceparent: str | None = None,
    links: Sequence[str] = (),
    start_ns: int | None = None,
    span_id: str = "",
) -> Iterator[otel_trace.Span]:
    """Trace the block as a span; an exception ends it as failed and goes on.

    The parent is `traceparent` if given (a malformed one starts a new trace, as W3C demands), else the current span.
    `links` are ``traceparent`` texts: what this work undoes or continues without being its child.
    `kind` is internal, server, client, producer or consumer; `start_ns` are nanoseconds since 1970. A `span_id` that
    follows from what is traced lets others link to the span without having heard of it.
    """
    if span_id:
        _next_span_id.set(span_id)
    begun = begin(name, kind=kind, attributes=attributes, traceparent=traceparent, links=links, start_ns=start_ns)
    with otel_trace.use_span(begun, end_on_exit=True) as current:
        yield current


def begin(
    name: str,
    *,
    kind: str = "internal",
    attributes: Mapping[str, Any] | None = None,
    traceparent: str | None = None,
    parent: otel_trace.Span | None = None,
    links: Sequence[str] = (),
    start_ns: int | None = None,
) -> otel_trace.Span:
    """Start a span that the caller ends, without making it the current one; for a part of what `parent` traces, give that."""
    context = None if traceparent is None else context_of(traceparent)
    return _tracer().start_span(
        name,
        context=context if parent is None else otel_trace.set_span_in_context(parent, Context()),
        kind=KINDS[kind],
        attributes=_with_correlation(attributes),
        links=[otel_trace.Link(found) for found in map(span_context_of, links) if found is not None],
        start_time=start_ns,
    )


@contextmanager
def span_on_demand(name: str, *, kind: str, attributes: Mapping[str, Any], parent: otel_trace.Span) -> Iterator[None]:
    """Trace the block as a part of `parent` if anything refers to its span, if it fails or if it takes 10 ms."""
    part = SpanOnDemand(lambda start_ns: begin(name, kind=kind, attributes=attributes, parent=parent, start_ns=start_ns))
    with otel_trace.use_span(part, end_on_exit=True):
        yield


def traceparent() -> str | None:
    """Return the ``traceparent`` of the current span, or None outside of any."""
    span_context = otel_trace.get_current_span().get_span_context()
    return traceparent_of(span_context) if span_context.is_valid else None


def trace_id() -> str | None:
    """Return the id of the current trace, or None outside of any."""
    span_context = otel_trace.get_current_span().get_span_context()
    return f"{span_context.trace_id:032x}" if span_context.is_valid else None


@contextmanager
def rejoined(name: str, into: str, *, attributes: Mapping[str, Any]) -> Iterator[None]:
    """Run the block within the trace of the ``traceparent`` `into`; from another trace, in a new span that links back to it."""
    wanted = context.parse(into)
    if wanted is None or wanted.trace_id == trace_id():
        yield
        return
    with span(name, kind="producer", attributes=attributes, traceparent=into, links=[traceparent() or ""]):
        yield


def correlation_id() -> str | None:
    """Return the correlation id that the current work was asked for under, or None."""
    return _correlation_id.get() or None


@contextmanager
def correlated(value: str | None) -> Iterator[None]:
    """Run the block under a correlation id: its spans carry it, and so do the messages it sends. A malformed one is none."""
    cut = (value or "")[:128]
    if not context.is_correlation_id(cut):
        yield
        return
    token = _correlation_id.set(cut)
    try:
        yield
    finally:
        _correlation_id.reset(token)


def headers() -> dict[str, str]:
    """Return the headers that carry the current trace and correlation to whoever comes next."""
    found = {"traceparent": traceparent(), "x-correlation-id": correlation_id()}
    return {name: value for name, value in found.items() if value}


def context_of(traceparent: str) -> Context:
    """Return the OpenTelemetry context in which a ``traceparent`` is the current span; empty when malformed."""
    return (_context_of if len(traceparent) <= MAX_REMEMBERED_LENGTH else _context_of.__wrapped__)(traceparent)


@lru_cache(maxsize=256)
def _context_of(traceparent: str) -> Context:
    """The same parent comes again: for each handler of an event, each link of a saga, each target of a broadcast."""
    found = span_context_of(traceparent)
    return Context() if found is None else otel_trace.set_span_in_context(otel_trace.NonRecordingSpan(found), Context())


def record(value: TraceSpan) -> None:
    """Keep a span that somebody else measured."""
    pipeline().put(value)


def record_received(values: Sequence[TraceSpan]) -> int:
    """Keep spans that a layer's SDK sent, and return how many; they are not sent on to a collector, which may be this hub.

    Errors: E11540 when there is no room for all of them now. Their sender has them still, and may send them again.
    """
    if received().room < len(values):
        said = f"{len(values)} spans have no room in the queue of this process; none was taken"
        raise IntegrationError(ErrorCode.SINK_UNAVAILABLE, said, {"retry_after_sec": 2})
    return sum(received().put(value) for value in values)


def flush() -> None:
    """Write the spans of this process now, in the calling thread."""
    pipeline().flush()
    received().flush()


@contextmanager
def collected() -> Iterator[list[ReadableSpan]]:
    """Hand the spans that end in the block to the caller, who writes them with his own record (`hub.telemetry.committed`)."""
    spans: list[ReadableSpan] = []
    token = collecting.set(spans)
    try:
        yield spans
    finally:
        collecting.reset(token)


def write_with_caller(spans: Sequence[ReadableSpan]) -> None:
    """Write ended spans to the database now, in the caller's transaction, and to the other sinks after its commit."""
    if not spans:
        return
    values = pipeline().redacted(spans)
    refused = store.write(values)
    transaction.on_commit(lambda: pipeline().put_stored(values, refused), robust=True)


def write_to_file(path: str) -> None:
    """Also append spans as JSON lines to `path` (``-`` is standard output) from now on."""
    pipeline().sinks["file"] = JsonLinesSink(path)


@cache
def pipeline() -> SpanPipeline:
    """Return the queue of this process behind which spans are written."""
    sinks: dict[str, Sink] = {DATABASE: store.write}
    if settings.HUB.observability_output_file:
        sinks["file"] = JsonLinesSink(settings.HUB.observability_output_file)
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        from hub.telemetry.otlp import OtlpSink

        sinks["otlp"] = OtlpSink()
    return SpanPipeline(sinks, Redactor(known_secrets()), aside=[name for name in sinks if name == "otlp"])


def counts() -> dict[tuple[str, str], int]:
    """Return how many spans this process wrote and lost: by ``written`` or ``lost``, and where or why."""
    total: dict[tuple[str, str], int] = {}
    for queue in (pipeline(), received()):
        for outcome, by_place in (("written", queue.written), ("lost", queue.lost)):
            for place, number in by_place.items():
                total[outcome, place] = total.get((outcome, place), 0) + number
    return total


@cache
def received() -> SpanPipeline:
    """Return the queue of spans from outside, which go to the database only."""
    return SpanPipeline({DATABASE: store.write}, Redactor(known_secrets()))


class _SpanIds(RandomIdGenerator):
    """Ids of the hub's kind, but for a span whose id was chosen by whoever opens it."""

    def generate_trace_id(self) -> int:
        return int(new_trace_id(), 16)

    def generate_span_id(self) -> int:
        chosen = _next_span_id.get()
        if not chosen:
            return super().generate_span_id()
        _next_span_id.set("")
        return int(chosen, 16)


@cache
def _tracer() -> otel_trace.Tracer:
    # What a layer does not record, the hub does: its own screen must not have holes.
    sampler = None if "OTEL_TRACES_SAMPLER" in os.environ else ALWAYS_ON
    if not settings.HUB.telemetry_enabled:
        sampler = ALWAYS_OFF
    provider = TracerProvider(
        sampler=sampler,
        id_generator=_SpanIds(),
        resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", SERVICE_NAME)}),
        span_limits=SpanLimits(max_attributes=MAX_ATTRIBUTES, max_events=32, max_links=32, max_attribute_length=MAX_ATTRIBUTE_LENGTH),
        shutdown_on_exit=False,  # the pipeline's ticker flushes at exit
    )
    provider.add_span_processor(pipeline())
    return provider.get_tracer("hub")


def _with_correlation(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    found = {name: value for name, value in (attributes or {}).items() if value is not None}
    if value := correlation_id():
        found.setdefault(conventions.CORRELATION_ID, value)
    return found
