from __future__ import annotations

import threading

from hub.events.handlers import event_handler
from hub.events.messages import EventMessage
from tests.events.hanging import HANDLER


@event_handler(HANDLER)
def hang(event: EventMessage) -> None:
    if event.payload["hangs"]:
        threading.Event().wait()
