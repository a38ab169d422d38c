"""What the sagas do with events on the bus: wake the runs that wait for one."""

from __future__ import annotations

from hub.events.handlers import event_handler
from hub.events.messages import EventMessage
from sagas import services
from sagas.listening import HANDLER


@event_handler(HANDLER)
def event_came(event: EventMessage) -> None:
    services.event_came(event.topic, event.payload, correlation_id=event.metadata.correlation_id)
