"""What travels with a request from hop to hop: trace, correlation, baggage (pure).

It parses what it writes. Header names are the same over HTTP, in Celery messages and in events:
``traceparent``, ``tracestate``, ``baggage`` (W3C) and ``x-correlation-id``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import uuid4

from hub.errors import ErrorCode, IntegrationError
from hub.telemetry import context as w3c
from hub.telemetry.ids import new_span_id, new_trace_id
from hub.telemetry.redaction import Redactor

HEADER_NAMES = ("traceparent", "tracestate", "baggage", "x-correlation-id")
MAX_TRACESTATE_MEMBERS = 32
MAX_BAGGAGE_BYTES = 8_192

_TRACESTATE_MEMBER = re.compile(r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_SECRETS = Redactor()
_BAGGAGE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestContext:
    """Where a request belongs: one trace (32 hex), the span that caused it (16 hex), one correlation id."""

    trace_id: str
    span_id: str
    correlation_id: str
    sampled: bool = True
    tracestate: str = ""
    baggage: str = ""

    @classmethod
    def create(cls, *, trace_id: str | None = None, correlation_id: str | None = None, baggage: str = "") -> RequestContext:
        """Start a context: a new trace unless `trace_id` (32 hex digits, else E11310) names one."""
        if trace_id is not None and not w3c.is_trace_id(trace_id):
            raise _malformed(trace_id)
        return cls(
            trace_id=trace_id or new_trace_id(),
            span_id=new_span_id(),
            correlation_id=_known_correlation(correlation_id) or str(uuid4()),
            baggage=_known_baggage(baggage),
        )

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], *, strict: bool = False) -> RequestContext:
        """Read a context from headers of any case.

        What is missing or malformed starts anew, as W3C demands of a receiver; with `strict` a malformed ``traceparent``
        is refused instead (E11310), so that a caller learns of it.
        """
        given = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
        parent = w3c.parse(given.get("traceparent"))
        if parent is None and strict and given.get("traceparent"):
            raise _malformed(given["traceparent"])
        fresh = cls.create(correlation_id=given.get("x-correlation-id"), baggage=given.get("baggage", ""))
        if parent is None:
            return fresh  # the tracestate of a trace that cannot be read means nothing
        state = _known_tracestate(given.get("tracestate", ""))
        return replace(fresh, trace_id=parent.trace_id, span_id=parent.span_id, sampled=parent.sampled, tracestate=state)

    @property
    def traceparent(self) -> str:
        """Return the W3C ``traceparent``: 55 characters."""
        return w3c.format_traceparent(w3c.TraceContext(trace_id=self.trace_id, span_id=self.span_id, sampled=self.sampled))

    def to_headers(self) -> dict[str, str]:
        """Return the headers that carry this context to the next hop."""
        found = dict(zip(HEADER_NAMES, (self.traceparent, self.tracestate, self.baggage, self.correlation_id), strict=True))
        return {name: value for name, value in found.items() if value}

    def child(self, traceparent: str | None = None) -> RequestContext:
        """Return the context for a call made within this one: same trace, and the span of `traceparent` or a new one."""
        parent = w3c.parse(traceparent)
        if parent is None:
            return replace(self, span_id=new_span_id())
        return replace(self, trace_id=parent.trace_id, span_id=parent.span_id, sampled=parent.sampled)


def _malformed(value: str) -> IntegrationError:
    return IntegrationError(
        ErrorCode.TRACE_CONTEXT_INVALID, f"not a trace context: {value!r:.80}", recovery_suggestion="send 00-<32 hex>-<16 hex>-<2 hex>"
    )


def _known_correlation(value: str | None) -> str:
    return value if value and w3c.is_correlation_id(value) and not _SECRETS.hides(value) else ""


def _known_baggage(value: str) -> str:
    return value if len(value) <= MAX_BAGGAGE_BYTES and _BAGGAGE.fullmatch(value) else ""


def _known_tracestate(value: str) -> str:
    members = [member.strip() for member in value.split(",") if member.strip()]
    if len(members) > MAX_TRACESTATE_MEMBERS or not all(_TRACESTATE_MEMBER.fullmatch(member) for member in members):
        return ""
    return ",".join(members)
