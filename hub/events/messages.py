"""An event as a value, and its CloudEvents 1.0 form on the wire (pure but for the default id and time)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from hub.errors import ErrorCode, IntegrationError
from hub.events.topics import check_topic
from hub.json_values import SEALED, check_json
from hub.telemetry import context
from hub.telemetry.sealing import is_unopened, sealer

PRIORITIES = ("low", "normal", "high", "critical")
CONTENT_TYPE = "application/cloudevents+json"
MAX_TAGS = 32
MAX_HOPS = 16
DEFAULT_SOURCE = "unknown"
_EVENT_TYPE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./:-]{0,127}\Z")
_EVENT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}\Z")
_TAG = re.compile(r"[A-Za-z0-9_.:/=-]{1,64}\Z")
_SOURCE = re.compile(r"[A-Za-z0-9_.:/-]{1,128}\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class EventMetadata:
    """Who said it, when, and what it belongs to.

    `causation_id` is the id of the event in whose handling this one was published; `hops` counts the chain of causes.
    """

    event_id: str
    source_service: str = DEFAULT_SOURCE
    timestamp: datetime
    trace_id: str = ""
    traceparent: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    hops: int = 0
    priority: str = "normal"
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class EventMessage:
    """Something that happened: a topic that says where to, a type that says what, and a JSON object."""

    topic: str
    event_type: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    metadata: EventMetadata

    @classmethod
    def create(
        cls,
        topic: str,
        event_type: str,
        payload: Mapping[str, Any],
        source_service: str | None = None,
        trace_id: str | None = None,
        correlation_id: str | None = None,
        priority: str = "normal",
        tags: Iterable[str] | None = None,
        *,
        event_id: str | None = None,
        timestamp: datetime | None = None,
    ) -> EventMessage:
        """Return a new event.

        Give the same `event_id` again to repeat a publish whose outcome is unknown. Errors: E11101 topic, E11102 type,
        E11103 and E11905 payload, E11104 id, E11107 trace or correlation id, E11008 tags, E11902 priority or source.
        """
        metadata = EventMetadata(
            event_id=event_id or uuid4().hex,
            source_service=source_service or DEFAULT_SOURCE,
            timestamp=timestamp or datetime.now(UTC),
            trace_id=trace_id or "",
            correlation_id=correlation_id or "",
            priority=priority,
            tags=_tags(tags),
        )
        return check(cls(topic=topic, event_type=event_type, payload=payload, metadata=metadata))

    def to_wire(self) -> dict[str, Any]:
        """Return the event in the JSON form of CloudEvents 1.0; extensions are lower case, as it demands."""
        meta = self.metadata
        attributes = {
            "specversion": "1.0",
            "id": meta.event_id,
            "source": meta.source_service,
            "type": self.event_type,
            "time": meta.timestamp.isoformat(),
            "datacontenttype": "application/json",
            "topic": self.topic,
            "traceparent": meta.traceparent,
            "traceid": meta.trace_id,
            "correlationid": meta.correlation_id,
            "causationid": meta.causation_id,
            "hops": meta.hops,
            "priority": meta.priority,
            "tags": ",".join(meta.tags),
        }
        # CloudEvents has no empty attributes: what is not known is not there.
        return {**{name: value for name, value in attributes.items() if value not in ("", None)}, "data": dict(self.payload)}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> EventMessage:
        """Return the event of a CloudEvents JSON object; refuses what `create` refuses, E11901 for a missing attribute."""
        for name in ("id", "type", "topic"):
            if not wire.get(name):
                raise IntegrationError(ErrorCode.ARGUMENT_MISSING, f"event has no {name!r}")
        return check(cls(topic=wire["topic"], event_type=wire["type"], payload=wire.get("data") or {}, metadata=_metadata_from(wire)))

    def with_metadata(self, **changes: Any) -> EventMessage:
        """Return the event with other metadata."""
        return replace(self, metadata=replace(self.metadata, **changes))

    def content_digest(self) -> str:
        """Return what tells two events of one id apart: a digest of topic, type and payload."""
        content = json.dumps([self.topic, self.event_type, dict(self.payload)], sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _metadata_from(wire: Mapping[str, Any]) -> EventMetadata:
    hops = wire.get("hops", 0)
    return EventMetadata(
        event_id=wire["id"],
        source_service=str(wire.get("source") or DEFAULT_SOURCE),
        timestamp=_time(wire.get("time")),
        trace_id=str(wire.get("traceid") or ""),
        traceparent=str(wire.get("traceparent") or ""),
        correlation_id=str(wire.get("correlationid") or ""),
        causation_id=str(wire.get("causationid") or ""),
        hops=max(hops, 0) if isinstance(hops, int) else 0,  # a table takes no other
        priority=str(wire.get("priority") or "normal"),
        tags=_tags(str(wire["tags"]).split(",") if wire.get("tags") else None),
    )


def _time(text: object) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise IntegrationError(ErrorCode.TIME_MALFORMED, f"time {str(text)[:80]!r} is not ISO 8601 with a zone")
    return moment


def _tags(tags: object) -> tuple[str, ...]:
    if tags is None:
        return ()
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise IntegrationError(ErrorCode.TAG_INVALID, "tags must be a list of texts")
    found = tuple(tags)
    if len(found) > MAX_TAGS or not all(isinstance(tag, str) and _TAG.match(tag) for tag in found):
        raise IntegrationError(ErrorCode.TAG_INVALID, f"at most {MAX_TAGS} tags of A-Z a-z 0-9 _ . : / = -")
    return found


def check(event: EventMessage) -> EventMessage:
    """Return `event` if every part of it is well-formed; the codes are those of `EventMessage.create`."""
    check_topic(event.topic)
    if not isinstance(event.event_type, str) or not _EVENT_TYPE.match(event.event_type):
        raise IntegrationError(ErrorCode.EVENT_TYPE_INVALID, f"event type {str(event.event_type)[:80]!r} is malformed")
    if not isinstance(event.payload, Mapping):
        raise IntegrationError(ErrorCode.EVENT_PAYLOAD_INVALID, f"payload is a {type(event.payload).__name__}, not an object")
    _check_metadata(event.metadata)
    return event


def usable_id(text: str | None) -> str | None:
    """Return `text` if an event may have it as its id."""
    return text if text and _EVENT_ID.match(text) else None


def _check_metadata(meta: EventMetadata) -> None:
    check_id(meta.event_id)
    if not isinstance(meta.source_service, str) or not _SOURCE.match(meta.source_service):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"source {str(meta.source_service)[:80]!r} is malformed")
    if meta.priority not in PRIORITIES:
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"priority {str(meta.priority)[:80]!r} is none of {', '.join(PRIORITIES)}")
    _check_time(meta.timestamp)
    for name, value in (("correlation id", meta.correlation_id), ("causation id", meta.causation_id), ("trace id", meta.trace_id)):
        if value and not context.is_correlation_id(value):
            raise IntegrationError(ErrorCode.CORRELATION_INVALID, f"{name} {str(value)[:80]!r} is malformed")


def check_id(event_id: object) -> None:
    """Refuse what no event can have for its id (E11104)."""
    if not isinstance(event_id, str) or not _EVENT_ID.match(event_id):
        raise IntegrationError(ErrorCode.EVENT_ID_INVALID, f"event id {str(event_id)[:80]!r} is malformed")


def _check_time(moment: object) -> None:
    """Refuse what is no point in time, or none that can be stored: without a zone, or beyond the calendar in UTC."""
    try:
        is_known = isinstance(moment, datetime) and moment.tzinfo is not None and bool(moment.astimezone(UTC))
    except OverflowError:
        is_known = False
    if not is_known:
        raise IntegrationError(ErrorCode.TIME_MALFORMED, f"timestamp {str(moment)[:80]!r} is no time with a zone")


def encode(event: EventMessage, *, max_bytes: int) -> str:
    """Return the event as one JSON text; E11905 and E11906 for its payload, E11160 when larger than `max_bytes`.

    Redis and the outbox keep this text for a while: secrets in the payload are sealed, and opened by `decode`.
    """
    wire = event.to_wire()
    text = check_json(wire, what="event", max_bytes=max_bytes, too_large=ErrorCode.EVENT_TOO_LARGE)
    sealed = sealer().seal(wire["data"])
    return text if sealed == wire["data"] else json.dumps({**wire, "data": sealed})


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """An event that is ready to be sent, and its text."""

    event: EventMessage
    text: str


def decode(text: str) -> EventMessage:
    """Return the event of a JSON text; E11904 when it is none."""
    try:
        wire = json.loads(text)
        wire = sealer().open(wire) if SEALED in text else wire
    except (ValueError, RecursionError):
        wire = None
    if not isinstance(wire, dict):
        raise IntegrationError(ErrorCode.JSON_MALFORMED, "event is not a JSON object")
    return EventMessage.from_wire(wire)


def to_deliver(body: Mapping[str, Any]) -> EventMessage:
    """Return the event of a stored row as its subscriber may have it; E11125 when another secret key sealed something in it."""
    if is_unopened(body):
        raise IntegrationError(
            ErrorCode.EVENT_SECRETS_UNREADABLE,
            "the event was sealed by another secret key",  # which its subscriber would take for what is in it
            recovery_suggestion="give HUB_SECRET_KEY to all processes as it was, and replay it",
        )
    return EventMessage.from_wire(body)


def caused_by(event: EventMessage, cause: EventMessage, *, max_hops: int = MAX_HOPS) -> EventMessage:
    """Return `event` as published while `cause` was handled: it joins its correlation and counts one hop more.

    Publishing the very event that is handled makes a copy with an id of its own. E11183 beyond `max_hops`: two
    handlers that answer each other's events would go on for ever.
    """
    hops = max(event.metadata.hops, cause.metadata.hops + 1)
    if hops > max_hops:
        raise IntegrationError(
            ErrorCode.EVENT_HOP_LIMIT,
            f"event on {event.topic} is number {hops} in a chain of causes, the limit is {max_hops}",
            recovery_suggestion="find the handlers that answer each other's events",
        )
    same = event.metadata.event_id == cause.metadata.event_id
    return event.with_metadata(
        event_id=uuid4().hex if same else event.metadata.event_id,
        causation_id=cause.metadata.event_id if same else event.metadata.causation_id or cause.metadata.event_id,
        correlation_id=event.metadata.correlation_id or cause.metadata.correlation_id,
        hops=hops,
    )


def traced(event: EventMessage, traceparent: str | None) -> EventMessage:
    """Return `event` as part of the current trace, unless it names one of its own."""
    if event.metadata.traceparent:
        return event
    own = event.metadata.trace_id
    if own and context.is_trace_id(own) and (traceparent is None or own not in traceparent):
        return event
    found = context.parse(traceparent)
    if found is None or traceparent is None:
        return event
    return event.with_metadata(traceparent=traceparent, trace_id=found.trace_id)
