"""Durable subscriptions for the topics that sagas wait for, made before a run that needs one is accepted."""

from __future__ import annotations

import hashlib

from hub.events import subscriptions
from hub.events.models import Subscription
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
    subscriptions.subscribe(_name(topic), topic, HandlerTarget(handler=HANDLER))


def why_deaf(topic: str) -> str:
    """Return why events on a topic that runs wait for reach none of them, or an empty string: somebody paused or removed what listens."""
    row = Subscription.objects.filter(name=_name(topic)).first()
    if row is None:
        return f"the subscription {_name(topic)} was removed; the next start of a saga that waits for it makes it again"
    return f"the subscription {row.name} is paused" if row.paused else ""


def _name(topic: str) -> str:
    """Return the subscription's name: of a topic that is too long for one, its beginning and a digest of all of it."""
    name = f"sagas:{topic}"
    if len(name) <= subscriptions.MAX_NAME:
        return name
    digest = hashlib.blake2b(topic.encode(), digest_size=8).hexdigest()
    return f"{name[: subscriptions.MAX_NAME - len(digest) - 1]}~{digest}"
