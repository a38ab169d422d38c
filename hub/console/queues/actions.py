"""What an admin may do to a queue."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from hub.celery import app
from hub.console import health
from hub.console.acting.shape import Action, Field, Given, Subject
from hub.console.queues import board
from hub.console.queues.board import QueueLine
from hub.errors import ErrorCode, IntegrationError


def find(name: str) -> QueueLine:
    """Return a queue of the broker; E11920 when there is none of this name, E11941 while Redis is away."""
    with health.redis_errors():
        found = next((line for line in board.look().queues if line.name == name), None)
    if found is None:
        raise IntegrationError(ErrorCode.NOT_FOUND, f"no queue is named {name[:80]!r}")
    return found


def _standing(name: str) -> dict[str, Any]:
    line = find(name)
    return {"waiting": line.ready, "readers": line.readers}


def _purge(given: Given) -> str:
    with health.redis_errors(), app.connection_for_write() as broker:
        gone = broker.default_channel.queue_purge(given.subject_id)
    return f"{gone or 0} messages are gone"


QUEUE = Subject(
    name="queue",
    view_permission="console.view_queues",
    find=find,
    id_of=lambda line: line.name,
    look=_standing,
    page=lambda name: reverse("console:queues"),
    actions=(
        Action(
            name="purge",
            label="Purge",
            permission="purge_queue",
            explains="Throws away every message that waits. Sagas and events are sent again from their rows; anything else is lost.",
            call=_purge,
            is_offered=lambda line: line.ready > 0,
            fields=lambda line: [Field(name="confirm", label=f"Yes, throw {line.ready} messages of {line.name} away", kind="confirm")],
        ),
    ),
)
