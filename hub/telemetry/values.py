"""What is observed, as values: spans and metric samples (pure).

A layer builds them, hands them to `Observability`, and gets spans back from `get_trace`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hub.errors import ErrorCode, IntegrationError
from hub.json_values import storable
from hub.telemetry.context import is_span_id, is_trace_id
from hub.telemetry.ids import new_span_id, new_trace_id

KINDS = ("internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")
METRIC_TYPES = ("counter", "gauge", "histogram")
MAX_ATTRIBUTES = 128
MAX_SPAN_BYTES = 65_536
MAX_NAME = 255
MAX_LABELS = 16
MAX_LABEL_LENGTH = 128
MAX_VALUE = 1e100

# Colons are for the recording rules of Prometheus; "_total" alone is the end of a name.
_METRIC_NAME = re.compile(r"(?!_total\Z)[a-zA-Z_][a-zA-Z0-9_]{0,254}\Z")
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]{0,62}\Z")
_RESERVED_LABELS = ("le", "quantile")
_as_json = json.JSONEncoder(default=str).encode

Moment = datetime | str | float | None
"""A point in time: with a zone, as ISO 8601 text, or as seconds since 1970."""


@dataclass(frozen=True, slots=True)
class TraceSpan:
    """One piece of work in one service: what it was called, when it ran, how it ended, what caused it.

    `start` and `end` take a datetime with a zone, ISO 8601 text or seconds since 1970, and are datetimes afterwards;
    left out, both are the moment of recording. `links` are ``traceparent`` texts of related spans.
    Errors: E11501 and E11502 for ids, E11503 for times, E11509 for attributes, E11561 when too large.
    """

    span_name: str
    service_name: str = ""
    trace_id: str = field(default_factory=new_trace_id)
    span_id: str = field(default_factory=new_span_id)
    parent_span_id: str = ""
    kind: str = "internal"
    start: Moment = None
    end: Moment = None
    status: str = "unset"
    status_message: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    links: Sequence[str] = ()
    events: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        _set(self, "trace_id", _trace_id(self.trace_id))
        _check_span_ids(self.span_id, self.parent_span_id)
        _check_span_words(self)
        _set(self, "start", _moment(self.start, "start"))
        _set(self, "end", _moment(self.end, "end"))
        if self.start and self.end and self.end < self.start:  # type: ignore[operator]
            raise IntegrationError(ErrorCode.SPAN_TIMES_INVALID, f"span {self.span_name[:80]!r} ends before it starts")
        _check_attributes(self)

    @property
    def duration_sec(self) -> float:
        """Return the seconds between start and end; 0 while either is unknown."""
        if not isinstance(self.start, datetime) or not isinstance(self.end, datetime):
            return 0.0
        return (self.end - self.start).total_seconds()

    def to_dict(self) -> dict[str, Any]:
        """Return the span as plain JSON values; times are ISO 8601 text."""
        return {
            "span_name": self.span_name,
            "service_name": self.service_name,
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "parent_span_id": self.parent_span_id,
            "kind": self.kind,
            "start": self.start.isoformat() if isinstance(self.start, datetime) else None,
            "end": self.end.isoformat() if isinstance(self.end, datetime) else None,
            "duration_ms": round(self.duration_sec * 1000, 3),
            "status": self.status,
            "status_message": self.status_message,
            "attributes": dict(self.attributes),
            "links": list(self.links),
            "events": [dict(event) for event in self.events],
        }


@dataclass(frozen=True, slots=True)
class Metric:
    """One sample of a metric: a counter's increase, a gauge's value or a histogram's observation.

    Errors: E11504 name, E11505 type, E11506 and E11905 value, E11507, E11508 and E11563 labels.
    """

    metric_name: str
    metric_type: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_metric_name(self.metric_name)
        if self.metric_type not in METRIC_TYPES:
            raise IntegrationError(ErrorCode.METRIC_TYPE_INVALID, f"metric type {str(self.metric_type)[:80]!r} is not known")
        check_metric_value(self.value, is_counter=self.metric_type == "counter")
        check_labels(self.labels)


def check_metric_name(name: object) -> None:
    """Refuse what Prometheus would not take as a metric name (E11504)."""
    if not isinstance(name, str) or not _METRIC_NAME.match(name):
        raise IntegrationError(ErrorCode.METRIC_NAME_INVALID, f"metric name {str(name)[:80]!r} is malformed")


def check_metric_value(value: object, *, is_counter: bool) -> None:
    """Refuse what is no number or NaN, or beyond 1e100 (E11905), and a counter that goes down (E11506)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise IntegrationError(ErrorCode.METRIC_VALUE_INVALID, f"metric value of type {type(value).__name__} is no number")
    if not -MAX_VALUE <= value <= MAX_VALUE:
        raise IntegrationError(ErrorCode.JSON_VALUE_REFUSED, f"metric value is NaN or beyond {MAX_VALUE:.0e}, so that no sum could be kept")
    if is_counter and value < 0:
        raise IntegrationError(ErrorCode.METRIC_VALUE_INVALID, f"a counter cannot go down (value {value})")


def check_labels(labels: object) -> None:
    """Refuse labels that are not a small object of plain names and short strings (E11507, E11508, E11563)."""
    if not isinstance(labels, Mapping) or len(labels) > MAX_LABELS:
        raise IntegrationError(ErrorCode.LABEL_NAME_INVALID, f"labels must be an object with at most {MAX_LABELS} names")
    for name, value in labels.items():
        if not isinstance(name, str) or not _LABEL_NAME.match(name) or name in _RESERVED_LABELS:
            raise IntegrationError(ErrorCode.LABEL_NAME_INVALID, f"label name {str(name)[:80]!r} is malformed or reserved")
        if not isinstance(value, str):
            raise IntegrationError(ErrorCode.LABEL_VALUE_INVALID, f"label {name} has a value of type {type(value).__name__}")
        if storable(value) != value:
            raise IntegrationError(ErrorCode.LABEL_VALUE_INVALID, f"label {name} holds NUL or half a character")
        if len(value) > MAX_LABEL_LENGTH:
            raise IntegrationError(ErrorCode.LABEL_VALUE_TOO_LONG, f"label {name} has {len(value)} characters")


def _set(span: TraceSpan, name: str, value: Any) -> None:
    object.__setattr__(span, name, value)


def _trace_id(value: object) -> str:
    """Return a trace id; a UUID with dashes, which the first hub's clients send, becomes its 32 digits."""
    text = value.replace("-", "").lower() if isinstance(value, str) and len(value) == 36 else value
    if not is_trace_id(text):
        raise IntegrationError(ErrorCode.TRACE_ID_INVALID, f"trace id {str(value)[:80]!r} is malformed")
    return str(text)


def _check_span_ids(span_id: object, parent_span_id: object) -> None:
    for value in (span_id, parent_span_id or span_id):
        if not is_span_id(value):
            raise IntegrationError(ErrorCode.SPAN_ID_INVALID, f"span id {str(value)[:80]!r} is malformed")


def _check_span_words(span: TraceSpan) -> None:
    for name, value in (("span_name", span.span_name), ("service_name", span.service_name)):
        if not isinstance(value, str) or "\x00" in value or (name == "span_name" and not value):
            raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"{name} must be a text that is not empty")
    if len(span.span_name) > MAX_NAME or len(span.service_name) > MAX_NAME:
        raise IntegrationError(ErrorCode.SPAN_TOO_LARGE, f"names of a span have at most {MAX_NAME} characters")
    if span.kind not in KINDS or span.status not in STATUSES:
        raise IntegrationError(
            ErrorCode.ARGUMENT_TYPE, f"kind {str(span.kind)[:20]!r} or status {str(span.status)[:20]!r} of the span is not known"
        )


def _moment(value: object, name: str) -> datetime | None:
    if value is None:
        return None
    try:
        moment = _read_moment(value)
        known = moment is not None and moment.tzinfo is not None and moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        known = None
    if not known:
        raise IntegrationError(ErrorCode.TIME_MALFORMED, f"{name} {str(value)[:80]!r} is not ISO 8601 with a zone")
    return known


def _read_moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    return None


def _check_attributes(span: TraceSpan) -> None:
    if not isinstance(span.attributes, Mapping) or not all(isinstance(key, str) for key in span.attributes):
        raise IntegrationError(ErrorCode.SPAN_ATTRIBUTES_INVALID, "attributes of a span must be a flat object")
    if any(isinstance(value, Mapping) for value in span.attributes.values()):
        raise IntegrationError(ErrorCode.SPAN_ATTRIBUTES_INVALID, "attributes of a span must not hold objects")
    if not isinstance(span.links, list | tuple) or not isinstance(span.events, list | tuple):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, "links and events of a span must be lists")
    if len(span.attributes) > MAX_ATTRIBUTES or len(span.links) > MAX_ATTRIBUTES or len(span.events) > MAX_ATTRIBUTES:
        raise IntegrationError(ErrorCode.SPAN_TOO_LARGE, f"a span has at most {MAX_ATTRIBUTES} attributes, links and events each")
    size = len(_as_json([dict(span.attributes), list(span.links), list(span.events)]))
    if size > MAX_SPAN_BYTES:
        raise IntegrationError(ErrorCode.SPAN_TOO_LARGE, f"span has {size} bytes, the limit is {MAX_SPAN_BYTES}")


def check_parts(span: TraceSpan) -> None:
    """Refuse what no page and no collector could show (E11509): links that are no texts, events that are no named objects."""
    if not isinstance(span.status_message, str) or len(span.status_message) > MAX_SPAN_BYTES:
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"status_message must be a text of at most {MAX_SPAN_BYTES} characters")
    if not all(isinstance(link, str) for link in span.links) or not all(map(_is_event, span.events)):
        what = "links of a span are texts, its events objects with a name and, if they like, time and attributes"
        raise IntegrationError(ErrorCode.SPAN_ATTRIBUTES_INVALID, what)


def _is_event(value: object) -> bool:
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return False
    try:
        return isinstance(value.get("attributes") or {}, Mapping) and (value.get("time") is None or bool(_moment(value["time"], "time")))
    except IntegrationError:
        return False
