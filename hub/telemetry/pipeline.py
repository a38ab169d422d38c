"""From an ended span to the places where it is kept: one bounded queue per process, written in batches."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from hub.telemetry.background import Ticker
from hub.telemetry.otel import from_otel
from hub.telemetry.redaction import Redactor
from hub.telemetry.values import TraceSpan

log = logging.getLogger(__name__)

Sink = Callable[[Sequence[TraceSpan]], int | None]
"""Writes spans, and returns how many of them it could not, where it looks at each."""
QUEUE_LIMIT = 8_192
BATCH = 512
INTERVAL_SEC = 1.0
DRAIN_SEC = 5.0
DATABASE = "database"

collecting: ContextVar[list[ReadableSpan] | None] = ContextVar("hub_collecting_spans", default=None)
"""Where ended spans go instead of the queue, while somebody wants to write them himself."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A span that is in the database already, and redacted."""

    value: TraceSpan


Queued = ReadableSpan | TraceSpan | Stored


class SpanPipeline(SpanProcessor):
    """Queue ended spans and write them to every sink, redacted; a full queue drops the newest and counts it.

    `written` and `lost` count spans per sink; `lost` also holds ``queue`` (dropped before) and ``redaction``. Sinks named in
    `aside` may be slow: each has a queue and a thread of its own.
    """

    def __init__(self, sinks: dict[str, Sink], redactor: Redactor, *, aside: Sequence[str] = ()) -> None:
        self.sinks = sinks
        self._asides = {name: Aside(name, partial(self._write, name)) for name in aside}
        self.written: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self._redactor = redactor
        self._queue: deque[Queued] = deque()
        self._ticker = Ticker("hub-spans", self._drain, interval_sec=INTERVAL_SEC, forget=self._queue.clear)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do: only ended spans are kept."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that OpenTelemetry ended."""
        elsewhere = collecting.get()
        if elsewhere is None:
            self.put(span)
        else:
            elsewhere.append(span)

    def put_stored(self, spans: Sequence[TraceSpan], refused: int) -> None:
        """Take spans that the caller has written to the database, which refused some: the other sinks still want them."""
        self.written[DATABASE] += len(spans) - refused
        self.lost[DATABASE] += refused
        if len(self.sinks) > 1:
            for span in spans:
                self.put(Stored(span))

    @property
    def room(self) -> int:
        """How many spans the queue has room for now."""
        return max(0, QUEUE_LIMIT - len(self._queue))

    def put(self, span: Queued) -> bool:
        """Take a span; never waits, never raises. False when it was dropped."""
        if not self.room:
            self.lost["queue"] += 1
            return False
        self._queue.append(span)
        self._ticker.ensure_running()
        if len(self._queue) == BATCH:
            self._ticker.wake()
        return True

    def flush(self) -> None:
        """Write what is queued now, in the calling thread."""
        self._ticker.work_now()

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        """Write what is queued now (the name OpenTelemetry calls it by)."""
        self.flush()
        return True

    def shutdown(self) -> None:
        """Write what is left when the tracer ends."""
        self.flush()

    def _drain(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            stored = [one.value for one in batch if isinstance(one, Stored)]
            fresh = self.redacted([one for one in batch if not isinstance(one, Stored)])
            for name in self.sinks:
                self._hand_on(name, fresh if name == DATABASE else [*fresh, *stored])

    def _hand_on(self, name: str, spans: Sequence[TraceSpan]) -> None:
        if name in self._asides:
            self.lost[name] += self._asides[name].put(spans)
        else:
            self._write(name, spans)

    def redacted(self, spans: Sequence[ReadableSpan | TraceSpan]) -> list[TraceSpan]:
        """Return spans as they may be kept; one that cannot be made safe is dropped and counted."""
        return [span for span in map(self._redacted, spans) if span is not None]

    def _redacted(self, span: ReadableSpan | TraceSpan) -> TraceSpan | None:
        try:
            value = span if isinstance(span, TraceSpan) else from_otel(span)
            return redact_span(value, self._redactor)
        except Exception:
            # A span that cannot be made safe is not kept (E11581); no content of it may reach the log.
            self.lost["redaction"] += 1
            log.warning("a span could not be redacted and was dropped", extra={"code": "E11581"})
            return None

    def _write(self, name: str, spans: Sequence[TraceSpan]) -> None:
        if not spans:
            return
        try:
            refused = self.sinks[name](spans) or 0
            self.written[name] += len(spans) - refused
            self.lost[name] += refused
        except Exception as exc:
            # Each sink fails alone (E11540): a full disk must not keep spans from the database.
            self.lost[name] += len(spans)
            extra = {"code": "E11540", "sink": name, "spans": len(spans), "error": type(exc).__name__}
            log.warning("spans could not be written", extra=extra)


class Aside:
    """A bounded queue and a thread for one sink that may be slow or away, so that it holds up no other and no reader."""

    def __init__(self, name: str, write: Callable[[Sequence[TraceSpan]], None]) -> None:
        self._write = write
        self._queue: deque[TraceSpan] = deque()
        self._ticker = Ticker(f"hub-spans-{name}", self._drain, interval_sec=INTERVAL_SEC, forget=self._queue.clear, turn=1)

    def put(self, spans: Sequence[TraceSpan]) -> int:
        """Take what there is room for; never waits. Return how many were dropped."""
        room = max(0, QUEUE_LIMIT - len(self._queue))
        self._queue.extend(spans[:room])
        self._ticker.ensure_running()
        self._ticker.wake()
        return max(0, len(spans) - room)

    def _drain(self) -> None:
        """Write for a few seconds at most: the end of a process waits for this too."""
        ends_at = time.monotonic() + DRAIN_SEC
        while self._queue and time.monotonic() < ends_at:
            self._write([self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))])


def redact_span(span: TraceSpan, redactor: Redactor) -> TraceSpan:
    """Return `span` without secrets in its name, message, attributes and events: itself, where there are none."""
    # What is kept is plain JSON: a mapping of another kind is equal to its copy and no object in the database.
    is_plain = type(span.attributes) is dict and not span.events
    if is_plain and redactor.passes(span.attributes, span.span_name, span.status_message):
        return span
    return replace(
        span,
        span_name=redactor.text(span.span_name),
        status_message=redactor.text(span.status_message),
        attributes=redactor.value(span.attributes),
        events=redactor.value(span.events),
    )
