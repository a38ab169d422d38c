"""Which event is being handled right now: what is published meanwhile names it as its cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from hub.events.messages import EventMessage
from hub.telemetry import tracing

_current: ContextVar[EventMessage | None] = ContextVar("hub_event_handled", default=None)


def current() -> EventMessage | None:
    """Return the event that is being handled, or None."""
    return _current.get()


@contextmanager
def handling(event: EventMessage) -> Iterator[None]:
    """Run the block as the handling of `event`."""
    token = _current.set(event)
    try:
        with tracing.correlated(event.metadata.correlation_id):
            yield
    finally:
        _current.reset(token)
