"""A span that is made when something refers to it: a child, a log line, a header, an attribute, a failure.

Most of what runs many times for one cause ends at once and without a trace of its own worth keeping. To make, redact and
store a span costs more than such work does; this one costs a few microseconds until somebody needs it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, Span, SpanContext

SLOW_SEC = 0.01
"""Work that took so long is worth a span, though nothing referred to it."""


class SpanOnDemand(NonRecordingSpan):
    """Stands for the span that `make` starts, given when it began (nanoseconds since 1970)."""

    def __init__(self, make: Callable[[int], Span]) -> None:
        super().__init__(INVALID_SPAN_CONTEXT)
        self._make = make
        self._began_ns = time.time_ns()
        self._made: Span | None = None

    def get_span_context(self) -> SpanContext:
        """Return the context of the span, which is needed from now on."""
        return self._span().get_span_context()

    def is_recording(self) -> bool:
        """Say yes, so that who has something to tell tells it."""
        return True

    def end(self, end_time: int | None = None) -> None:
        """End the span if it was needed, or is now because it took long."""
        if self._made is not None or time.time_ns() - self._began_ns >= SLOW_SEC * 1e9:
            self._span().end(end_time)

    def _span(self) -> Span:
        if self._made is None:
            self._made = self._make(self._began_ns)
        return self._made


def _handed_on(name: str) -> Callable[..., None]:
    """Return a method that has the span made and calls its method of that name."""

    def method(self: SpanOnDemand, *args: Any, **kwargs: Any) -> None:
        getattr(self._span(), name)(*args, **kwargs)

    return method


for _name in ("set_attribute", "set_attributes", "add_event", "add_link", "update_name", "set_status", "record_exception"):
    setattr(SpanOnDemand, _name, _handed_on(_name))
