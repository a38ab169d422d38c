"""What a committed move asks for beside the run itself: counts, slots and locks given back, a parent told, a child called off.

Each of these is a hint or can be done again: if the process dies here, leases end and sweeps find the same things.
"""

from __future__ import annotations

from hub.telemetry import metrics
from sagas import brake, chain, clock, locks, store
from sagas.models import SagaExecution
from sagas.spec import Call
from sagas.states import ACTIVE, Direction, SagaStatus, StepState, StepStatus
from sagas.store import Applied


def attempt_ended(applied: Applied, direction: Direction, outcome: str) -> None:
    """Count an attempt, then do what every move asks for."""
    name = "hub_saga_compensations_total" if direction is Direction.UNDO else "hub_saga_steps_total"
    metrics.increment(name, saga=applied.spec.saga_name, outcome=outcome)
    moved(applied)


def moved(applied: Applied) -> None:
    """Do what a committed move asks for."""
    _give_slots_back(applied)
    if applied.run.cause and not applied.before.cause:
        _call_children_off(applied)
    if applied.run.status is not applied.before.status and applied.run.status not in ACTIVE:
        _ended(applied)


def _give_slots_back(applied: Applied) -> None:
    for index, (before, after) in enumerate(zip(applied.before.steps, applied.run.steps, strict=True)):
        undo = applied.spec.steps[index].undo
        if undo is not None and _undo_ended(before, after):
            brake.give_back(str(applied.row.pk), index)
            _wake_one_that_waits(undo)


def _undo_ended(before: StepState, after: StepState) -> bool:
    return before.status is StepStatus.COMPENSATING and before.lease_until is not None and after.lease_until is None


def _wake_one_that_waits(undo: Call) -> None:
    """Let the run that has waited longest for a slot have it now rather than at its next sweep."""
    # Runs that wait for something else may have stood there for hours, and can do nothing with it.
    mine = {"blocked_at__isnull": False, "blocked_reason__endswith": brake.waiting_words(undo)}
    waiting = SagaExecution.objects.filter(status=SagaStatus.COMPENSATING.value, **mine)
    longest = waiting.order_by("blocked_at").values_list("pk", flat=True).first()
    if longest is not None:
        _send(str(longest))


def _send(execution_id: str) -> None:
    loaded = store.load(execution_id)
    chain.send_rest(execution_id, loaded.spec, loaded.run, now=clock.now())


def _call_children_off(applied: Applied) -> None:
    """A run that turns back does not wait for a child to finish what will be undone."""
    for index, step in enumerate(applied.run.steps):
        call = applied.spec.steps[index].do
        if step.lease_until is not None and call.kind == "saga":
            chain.send_control("cancel_child", execution_id=str(applied.row.pk), index=index)


def _ended(applied: Applied) -> None:
    row = applied.row
    if row.parent_id is not None:
        chain.send_control("child_ended", execution_id=str(row.parent_id), index=row.parent_step)
    for waiter in locks.waiters(row.lock_names):
        _send(waiter)
