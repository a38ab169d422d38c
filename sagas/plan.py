"""What follows from a run's state: the work that may begin, the data it gets, when somebody must look again (pure)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sagas.spec import SagaSpec
from sagas.states import ACTIVE, DONE, Direction, RunState, SagaStatus, StepState, StepStatus

MAX_PICKUP_FACTOR = 4
"""A message that nobody picked up is sent again after 1, 2, 4, 4, ... pick-up times."""
MAX_HINTS = 100
"""Where the count of such messages stops, so that a run that nobody serves for weeks still fits its column."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What may run now in this direction: branches side by side, each a list of steps one after another."""

    direction: Direction
    branches: tuple[tuple[int, ...], ...]

    @property
    def steps(self) -> tuple[int, ...]:
        """Return the first branch: all there is, outside a parallel group."""
        return self.branches[0]

    def offers(self, index: int) -> bool:
        """Tell whether this step may begin now."""
        return any(branch[0] == index for branch in self.branches)


def work(spec: SagaSpec, run: RunState, *, now: float) -> Work | None:
    """Return the rest of the chain from here, or None while something runs, waits, or nothing is left."""
    if run.status not in ACTIVE:
        return None
    direction = Direction.UNDO if run.status is SagaStatus.COMPENSATING else Direction.DO
    branches = _undo_branches(spec, run, now) if direction is Direction.UNDO else _forward_branches(spec, run, now)
    return Work(direction=direction, branches=branches) if branches else None


def _undo_branches(spec: SagaSpec, run: RunState, now: float) -> tuple[tuple[int, ...], ...]:
    owed = to_undo(spec, run)
    if not owed or any(step.lease_until is not None for step in run.steps) or not _is_due(run.steps[owed[0]], now):
        return ()
    return (owed,)


def _forward_branches(spec: SagaSpec, run: RunState, now: float) -> tuple[tuple[int, ...], ...]:
    first = next((i for i, step in enumerate(run.steps) if step.status not in DONE), None)
    if run.cause or first is None or stalled(spec, run) is not None:
        return ()
    open_steps = [i for i in group_of(spec, first) if _may_begin(run.steps[i], now) and not is_wait(spec, i)]
    if spec.steps[first].parallel_group:
        return tuple((i,) for i in open_steps)
    return (segment(spec, first),) if open_steps else ()


def is_undoing(step: StepState) -> bool:
    """Tell whether the running attempt of a step is one of its undo."""
    return step.status is StepStatus.COMPENSATING


def direction_of(step: StepState) -> Direction:
    """Return which way the running attempt of a step goes."""
    return Direction.UNDO if is_undoing(step) else Direction.DO


def is_wait(spec: SagaSpec, index: int) -> bool:
    """Tell whether a step only waits: nobody runs it, time or a signal ends it."""
    return spec.steps[index].do.kind == "wait"


def _may_begin(step: StepState, now: float) -> bool:
    return step.status in (StepStatus.PENDING, StepStatus.WAITING) and _is_due(step, now)


def _is_due(step: StepState, now: float) -> bool:
    return step.due_at is None or step.due_at <= now


def group_of(spec: SagaSpec, index: int) -> range:
    """Return the neighbours that run side by side with a step, itself included."""
    name, first, last = spec.steps[index].parallel_group, index, index
    while name and first > 0 and spec.steps[first - 1].parallel_group == name:
        first -= 1
    while name and last + 1 < len(spec.steps) and spec.steps[last + 1].parallel_group == name:
        last += 1
    return range(first, last + 1)


def next_open(spec: SagaSpec, run: RunState) -> tuple[int, ...]:
    """Return the steps that come next and are not done: one, or those of a group."""
    first = next((i for i, step in enumerate(run.steps) if step.status not in DONE), None)
    return () if first is None else tuple(i for i in group_of(spec, first) if run.steps[i].status not in DONE)


def segment(spec: SagaSpec, index: int) -> tuple[int, ...]:
    """Return the step and those after it, up to the next parallel group or wait: what one chain may link."""
    end = index + 1
    while end < len(spec.steps) and not spec.steps[end].parallel_group and not is_wait(spec, end):
        end += 1
    return tuple(range(index, end))


def is_past_pivot(spec: SagaSpec, run: RunState) -> bool:
    """Tell whether the point of no return lies behind: from there the saga only goes forward (S12)."""
    return any(step.kind == "pivot" and state.status in DONE for step, state in zip(spec.steps, run.steps, strict=True))


def stalled(spec: SagaSpec, run: RunState) -> int | None:
    """Return the step that ended badly where the saga can no longer turn back, or None.

    That is a step after the pivot, or the pivot itself when nobody knows whether it happened.
    """
    past = is_past_pivot(spec, run)
    for index, (step, state) in enumerate(zip(spec.steps, run.steps, strict=True)):
        if state.status is StepStatus.UNKNOWN and (past or step.kind == "pivot"):
            return index
        if state.status is StepStatus.FAILED and past:
            return index
    return None


def heeds_deadline(spec: SagaSpec, run: RunState) -> bool:
    """Tell whether the deadline still decides: not once the run has turned back, nor beyond its pivot (S9, S12)."""
    return run.status is not SagaStatus.COMPENSATING and run.cause is None and not is_past_pivot(spec, run)


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


def would_undo(spec: SagaSpec, run: RunState) -> tuple[int, ...]:
    """Return what turning back now would undo, in order: the steps that run now, too, and undos that failed in a run at rest."""

    def is_owed(step: StepState) -> bool:
        is_taken_up_again = step.status is StepStatus.COMPENSATION_FAILED and run.status not in ACTIVE
        return step.status is StepStatus.RUNNING or _is_open(step) or is_taken_up_again

    ended = [replace(step, status=StepStatus.UNKNOWN) if is_owed(step) else step for step in run.steps]
    return to_undo(spec, replace(run, steps=tuple(ended)))


def _is_open(step: StepState) -> bool:
    return step.status is StepStatus.WAITING and step.may_have_happened


def context(
    spec: SagaSpec, run: RunState, *, upto: int | None = None, seen: Collection[str] | None = None, before: int | None = None
) -> dict[str, Any]:
    """Return the input merged with the outputs in order of start.

    `upto` a step: as it was when that step ended (S27); with `seen`, the steps whose outputs its action had, those and its own.
    `before` a step: with the outputs of the steps listed before it.
    """
    last = None if upto is None or seen is not None else run.steps[upto].started_seq
    merged = dict(run.input)
    for seq, index in _by_start(run):
        was_seen = seen is None or index == upto or spec.steps[index].step_id in seen
        if was_seen and (last is None or seq <= last) and (before is None or index < before):
            merged |= _as_mapping(spec.steps[index].step_id, run.steps[index].output)
    return merged


def outputs(spec: SagaSpec, run: RunState) -> dict[str, Any]:
    """Return what the steps put out, in order of start, without the input."""
    return context(spec, replace(run, input={}))


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
    times = [_lease_look(spec, i, step.lease_until, now + pickup_sec) for i, step in enumerate(run.steps) if step.lease_until is not None]
    times += [step.due_at for step in run.steps if step.due_at is not None and (step.due_at > now or step.waiting_for)]
    if heeds_deadline(spec, run):
        times.append(run.deadline_at)
    if work(spec, run, now=now):
        times.append(now + pickup_sec * min(2**run.hints, MAX_PICKUP_FACTOR))
    elif run.status is SagaStatus.PENDING:
        times.append(now)  # its first step only waits, and somebody must let it begin
    return min(times, default=now + pickup_sec)


def _lease_look(spec: SagaSpec, index: int, lease_until: float, soon: float) -> float:
    """A child saga tells its parent how it ended; the parent looks by itself too, in case that message is lost."""
    return min(lease_until, soon) if spec.steps[index].do.kind == "saga" else lease_until
