"""One event as the live subscriptions of this process hear it: one span for all of them, with parts where there is something to tell.

What a handler did is worth a span of its own when it failed, took long, or had others do something (`hub.telemetry.on_demand`);
of the others the event's span says how many they were and who.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any

from opentelemetry.trace import Span

from hub.events import causes
from hub.events.messages import EventMessage
from hub.telemetry import conventions, tracing

NAMED = 20
"""So many subscriptions are named in an event's span; of more, their number tells."""


class Hearing:
    """An event, and how many subscriptions have still to handle it or let it go."""

    def __init__(self, event: EventMessage, listeners: int) -> None:
        self.event = event
        self._is_shared = listeners > 1
        self._awaited = listeners
        self._handled: list[str] = []

    @contextmanager
    def handling(self, name: str) -> Iterator[None]:
        """Run the block as the work of the subscription of that name."""
        with causes.handling(self.event), self._traced(name):
            yield

    def done(self, name: str) -> None:
        """Count a subscription that has handled the event."""
        self._handled.append(name)
        self.let_go()

    def let_go(self) -> None:
        """Count a subscription that has handled the event or will not; the last one ends the span that they share."""
        self._awaited -= 1
        if self._awaited == 0 and self._is_shared and self._handled:
            self._shared.set_attribute(conventions.SUBSCRIPTIONS, sorted(self._handled)[:NAMED])
            self._shared.set_attribute(conventions.HANDLERS, len(self._handled))
            self._shared.end()

    def _traced(self, name: str) -> AbstractContextManager[Any]:
        attributes = {**self._attributes, conventions.SUBSCRIPTION: name}
        if self._is_shared:
            return tracing.span_on_demand(self._span_name, kind="consumer", attributes=attributes, parent=self._shared)
        return tracing.span(self._span_name, kind="consumer", attributes=attributes, traceparent=self._parent)

    @cached_property
    def _shared(self) -> Span:
        return tracing.begin(self._span_name, kind="consumer", attributes=self._attributes, traceparent=self._parent)

    @property
    def _span_name(self) -> str:
        return f"process {self.event.topic}"

    @property
    def _parent(self) -> str | None:
        return self.event.metadata.traceparent or None

    @cached_property
    def _attributes(self) -> dict[str, Any]:
        return {conventions.EVENT_ID: self.event.metadata.event_id, conventions.MESSAGING_DESTINATION: self.event.topic}
