"""Durable subscriptions for the topics that sagas wait for, made before a run that needs one is accepted."""

from __future__ import annotations

from hub.events import subscriptions
from hub.events.targets import HandlerTarget
from sagas.spec import SagaSpec

HANDLER = "hub.sagas.event_came"
"""The name under which workers know what wakes the waiting runs (`sagas.event_handlers`)."""


def listen_for(spec: SagaSpec) -> None:
    """See that the bus keeps the events that a run of this definition will wait for."""
    for step in spec.steps:
        kind, _, topic = step.do.target.partition(":")
        if step.do.kind == "wait" and kind == "event":
            _subscribe(topic)


def _subscribe(topic: str) -> None:
    subscriptions.subscribe(f"sagas:{topic}"[:100], topic, HandlerTarget(handler=HANDLER))
