"""What the sagas do with events on the bus: wake the runs that wait for one."""

from __future__ import annotations

from hub.events.handlers import event_handler
from hub.events.messages import EventMessage
from sagas import signals
from sagas.listening import HANDLER


@event_handler(HANDLER)
def event_came(event: EventMessage) -> None:
    signals.event_came(event.topic, event.payload, correlation_id=event.metadata.correlation_id, event_id=event.metadata.event_id)
