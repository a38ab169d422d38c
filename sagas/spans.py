"""The span of an attempt: in its saga's trace, under an id that follows from the claim, an undo linked to what it undoes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import get_args

from opentelemetry.trace import Span, Status, StatusCode, get_current_span

from hub.telemetry import context, conventions, tracing
from sagas.calls import Ended
from sagas.events import Outcome
from sagas.states import Direction
from sagas.store import Applied


@contextmanager
def of_attempt(applied: Applied, *, index: int, direction: Direction, epoch: int) -> Iterator[Callable[[Ended], None]]:
    """Trace the block as an attempt, under the run's correlation id; what is yielded takes how it ended."""
    step, undo = applied.spec.steps[index], direction is Direction.UNDO
    attributes = {
        conventions.SAGA_NAME: applied.spec.saga_name,
        conventions.SAGA_EXECUTION_ID: str(applied.row.pk),
        conventions.SAGA_STEP_ID: step.step_id,
        conventions.SAGA_DIRECTION: direction.value,
        conventions.SAGA_EPOCH: epoch,
        conventions.MESSAGING_MESSAGE_ID: applied.run.steps[index].task_id or None,
        conventions.KEEP: undo or None,
    }
    with (
        # Whoever sent it on, a sweeper or an operator: what it asks of others belongs to the run.
        tracing.correlated(applied.row.correlation_id),
        tracing.span(
            f"{'undo' if undo else 'step'} {step.step_id}",
            attributes=attributes,
            traceparent=applied.row.traceparent or None,
            links=[_what_it_undoes(applied, index, epoch)] if undo else (),
            span_id=span_id(applied, index, epoch),
        ) as current,
    ):
        yield lambda ended: _say_outcome(current, ended)


def carried_by(task_id: str) -> None:
    """Say on the current attempt's span which task carries it out: another worker's, for a layer's step."""
    get_current_span().set_attribute(conventions.MESSAGING_MESSAGE_ID, task_id)


def span_id(applied: Applied, index: int, epoch: int) -> str:
    """Return the id of an attempt's span: each claim of a step has an epoch, so each epoch has a span."""
    return context.span_id_of(applied.row.pk, index, epoch)


def _what_it_undoes(applied: Applied, index: int, epoch: int) -> str:
    """Return the ``traceparent`` of the last attempt before the undos."""
    last = span_id(applied, index, epoch - applied.run.steps[index].undo_attempts)
    return context.format_traceparent(context.TraceContext(trace_id=applied.row.trace_id, span_id=last))


def _say_outcome(current: Span, ended: Ended) -> None:
    current.set_attribute(conventions.SAGA_OUTCOME, ended.outcome)
    if ended.outcome in get_args(Outcome):
        error = ended.error or {}
        current.set_attribute(conventions.ERROR_TYPE, str(error.get("code", "")))
        current.set_status(Status(StatusCode.ERROR, str(error.get("message", ""))))
