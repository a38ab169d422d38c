"""The Celery tasks that carried out a saga's attempts, as far as their spans are still kept.

The row of a step has the id of its newest task only, and none where a layer's worker carries the step out; each attempt's
span has its own. Spans end with their retention, and a trace that is not worth keeping ends earlier.
"""

from __future__ import annotations

from dataclasses import dataclass

from hub.telemetry import context, conventions
from hub.telemetry.models import Span
from sagas.states import Direction, StepState
from sagas.store import Loaded

NEWEST = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A task of an attempt; `words` say which: when it began, and whether it was an undo."""

    task_id: str
    words: str


def by_step(loaded: Loaded) -> list[list[Message]]:
    """Return for each step the tasks of its newest attempts, the oldest first, in one query."""
    ids = {
        context.span_id_of(loaded.row.pk, index, epoch): index
        for index, state in enumerate(loaded.run.steps)
        for epoch in range(max(1, state.epoch - NEWEST + 1), state.epoch + 1)
    }
    found: list[list[Message]] = [[] for _ in loaded.run.steps]
    spans = Span.objects.filter(trace_id=loaded.row.trace_id, span_id__in=ids).order_by("start")
    for span_id, start, attributes in spans.values_list("span_id", "start", "attributes"):
        if task_id := str(attributes.get(conventions.MESSAGING_MESSAGE_ID) or ""):
            undo = "undo " if attributes.get(conventions.SAGA_DIRECTION) == Direction.UNDO.value else ""
            found[ids[span_id]].append(Message(task_id=task_id, words=f"{undo}{start:%H:%M:%S}"))
    return [[*messages, *_newest(state, messages)] for messages, state in zip(found, loaded.run.steps, strict=True)]


def _newest(state: StepState, known: list[Message]) -> list[Message]:
    """Return what only the step's own row knows: an attempt under way has no span yet."""
    is_known = not state.task_id or state.task_id in {message.task_id for message in known}
    return [] if is_known else [Message(task_id=state.task_id, words="newest")]
