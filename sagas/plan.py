"""What follows from a run's state: the work that may begin, the data it gets, when somebody must look again (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagas.spec import SagaSpec
from sagas.states import ACTIVE, DONE, Direction, RunState, SagaStatus, StepState, StepStatus

MAX_PICKUP_FACTOR = 4
"""A message that nobody picked up is sent again after 1, 2, 4, 4, ... pick-up times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Steps that may run now, one after another, in this direction."""

    direction: Direction
    steps: tuple[int, ...]


def work(spec: SagaSpec, run: RunState, *, now: float) -> Work | None:
    """Return the rest of the chain from here, or None while something runs, waits, or nothing is left."""
    if run.status not in ACTIVE or any(step.lease_until is not None for step in run.steps):
        return None
    if run.status is SagaStatus.COMPENSATING:
        steps = to_undo(spec, run)
        direction = Direction.UNDO
    else:
        steps = () if run.cause else tuple(i for i, step in enumerate(run.steps) if step.status not in DONE)
        direction = Direction.DO
    if not steps or not _is_due(run.steps[steps[0]], now):
        return None
    return Work(direction=direction, steps=steps)


def _is_due(step: StepState, now: float) -> bool:
    return step.due_at is None or step.due_at <= now


def to_undo(spec: SagaSpec, run: RunState) -> tuple[int, ...]:
    """Return the steps whose undo is still owed, in reverse order of start (S1), ambiguous ones included (S2)."""
    owed = [i for i in range(len(run.steps)) if owes_undo(spec, run, i)]
    return tuple(sorted(owed, key=lambda i: run.steps[i].started_seq or 0, reverse=True))


def owes_undo(spec: SagaSpec, run: RunState, index: int) -> bool:
    step = run.steps[index]
    if spec.steps[index].undo is None:
        return False
    if step.status is StepStatus.SKIPPED:
        return step.may_have_happened
    return step.status in (StepStatus.COMPLETED, StepStatus.UNKNOWN, StepStatus.COMPENSATING)


def context(spec: SagaSpec, run: RunState, *, upto: int | None = None) -> dict[str, Any]:
    """Return the input merged with the outputs in order of start; `upto` a step: as it was when that step ended (S27)."""
    last = None if upto is None else run.steps[upto].started_seq
    merged = dict(run.input)
    for seq, index in _by_start(run):
        if last is None or seq <= last:
            merged |= _as_mapping(spec.steps[index].step_id, run.steps[index].output)
    return merged


def _by_start(run: RunState) -> list[tuple[int, int]]:
    return sorted((step.started_seq, i) for i, step in enumerate(run.steps) if step.started_seq is not None)


def _as_mapping(step_id: str, output: Any) -> Mapping[str, Any]:
    if output is None:
        return {}
    return output if isinstance(output, dict) else {step_id: output}


def wake_at(spec: SagaSpec, run: RunState, *, now: float, pickup_sec: float) -> float | None:
    """Return when somebody must look at the run if nothing happens before; None for a final run.

    It is the earliest of: end of a lease, a due time, the deadline, and, when work lies ready, the time by which
    a worker should have picked it up.
    """
    if run.status not in ACTIVE:
        return None
    if run.owner_until is not None:
        return run.owner_until
    times = [step.lease_until for step in run.steps if step.lease_until is not None]
    times += [step.due_at for step in run.steps if step.due_at is not None and step.due_at > now]
    if run.status is not SagaStatus.COMPENSATING and run.cause is None:
        times.append(run.deadline_at)
    if work(spec, run, now=now):
        times.append(now + pickup_sec * min(2**run.hints, MAX_PICKUP_FACTOR))
    return min(times, default=now + pickup_sec)
