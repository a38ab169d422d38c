"""What a run keeps for steps that will wait for it: signals by name, events in the order they came (pure).

`run.signals` holds ``signal:name`` with its payload, ``event:topic`` with a list of ``[event_id, payload]``, and ``taken:id``
of an event that ended a wait while another step will wait for its topic: the bus may deliver it again.
"""

from __future__ import annotations

from typing import Any

from sagas import events
from sagas.draft import Draft
from sagas.states import DONE


def keep_signal(draft: Draft, event: events.Signal) -> str:
    """Keep a signal; the first of a name counts."""
    if event.name in draft.run.signals:
        return "that signal is here already"
    draft.set(signals={**draft.run.signals, event.name: event.payload})
    return ""


def keep_event(draft: Draft, event: events.EventCame) -> str:
    """Keep an event behind those of its topic that are here already: as many as there are waits for them to end."""
    kept = draft.run.signals.get(event.name, [])
    if len(kept) >= waits_ahead(draft, event.name):
        return "as many as will be waited for are here already"
    draft.set(signals={**draft.run.signals, event.name: [*kept, [event.event_id, event.payload]]})
    return ""


def has(draft: Draft, wanted: str) -> bool:
    return wanted in draft.run.signals


def take(draft: Draft, wanted: str) -> Any:
    """Return the payload of what was kept. An event ends one wait; a signal is waited for by one step alone."""
    kept = draft.run.signals[wanted]
    if not wanted.startswith("event:"):
        return kept
    (event_id, payload), *rest = kept
    others = {name: value for name, value in draft.run.signals.items() if name != wanted}
    draft.set(signals={**others, wanted: rest} if rest else others)
    remember(draft, wanted, event_id)
    return payload


def knows(draft: Draft, event: events.EventCame) -> bool:
    """Tell whether this event was delivered before."""
    kept = draft.run.signals.get(event.name, [])
    return f"taken:{event.event_id}" in draft.run.signals or any(event_id == event.event_id for event_id, _ in kept)


def remember(draft: Draft, name: str, event_id: str) -> None:
    """Note that an event was taken, where another step will wait for its topic."""
    if waits_ahead(draft, name):
        draft.set(signals={**draft.run.signals, f"taken:{event_id}": None})


def waits_ahead(draft: Draft, name: str) -> int:
    """Return how many steps wait for this, or may wait for it later."""
    steps = zip(draft.spec.steps, draft.run.steps, strict=True)
    return sum(step.do.target == name and state.status not in DONE for step, state in steps)
