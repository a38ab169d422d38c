"""What the world does for runs that wait for it: it gives the signal or publishes the event, until the run goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

ASK_AGAIN_SEC = 1.5


class Nudges:
    """Called with the id of a run under way, give it what one of its steps waits for; `signals` and `events` are payloads by name.

    What is given may die with its process, like all else here, so it is given again while the step still waits.
    """

    def __init__(self, *, signals: Mapping[str, Any] | None = None, events: Mapping[str, Any] | None = None) -> None:
        self._ways: dict[str, Callable[[str], None]] = {
            **{f"signal:{name}": partial(_signal, name, payload) for name, payload in (signals or {}).items()},
            **{f"event:{topic}": partial(_publish, topic, payload) for topic, payload in (events or {}).items()},
        }
        self._asked_at: dict[str, float] = {}

    def __call__(self, execution_id: str) -> None:
        """Give a run what it waits for, not more often than an impatient person would."""
        if not self._ways or time.monotonic() - self._asked_at.get(execution_id, -ASK_AGAIN_SEC) < ASK_AGAIN_SEC:
            return
        for give in filter(None, map(self._ways.get, waits_of(execution_id))):
            self._asked_at[execution_id] = time.monotonic()
            give(execution_id)


def waits_of(execution_id: str) -> list[str]:
    """Return what the steps of a run wait for now, such as ``signal:approved``."""
    from sagas.models import SagaStepExecution

    steps = SagaStepExecution.objects.filter(execution=UUID(execution_id)).exclude(waiting_for="")
    return list(steps.values_list("waiting_for", flat=True))


def _signal(name: str, payload: Any, execution_id: str) -> None:
    from hub.celery import app

    app.send_task("hub.sagas.signal", kwargs={"execution_id": execution_id, "name": name, "payload": payload}, queue="hub")


def _publish(topic: str, payload: Any, execution_id: str) -> None:
    from hub.events import bus
    from hub.events.messages import EventMessage
    from sagas.models import SagaExecution

    known = SagaExecution.objects.values_list("correlation_id", flat=True).get(pk=execution_id)
    bus.publish(EventMessage.create(topic=topic, event_type="happened", payload=payload, correlation_id=known))
