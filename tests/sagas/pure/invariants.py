"""What holds of every run in every state, and of every move from one to the next."""

from __future__ import annotations

from sagas import events, plan
from sagas.machine import Verdict
from sagas.spec import SagaSpec
from sagas.states import (
    ACTIVE,
    DONE,
    OPERATOR_MOVES,
    OPERATOR_STEP_MOVES,
    PARENT_MOVES,
    SAGA_MOVES,
    STEP_MOVES,
    Direction,
    RunState,
    SagaStatus,
    StepStatus,
)

OPERATORS = (events.Retry, events.Compensate, events.Skip, events.Resolve)
CERTAIN = (StepStatus.PENDING, StepStatus.FAILED)
"""What is said of a step that certainly did not happen."""


def assert_sound(spec: SagaSpec, run: RunState, *, now: float, by_hand: frozenset[int] = frozenset()) -> None:
    """Check what holds in every state; `by_hand`: steps that an operator has dealt with."""
    for index, step in enumerate(run.steps):
        assert not (step.may_have_happened and step.status in CERTAIN), f"the doubt about step {index} is lost"
        assert step.status is not StepStatus.RUNNING or step.lease_until is not None, f"step {index} runs without a lease"
        assert step.lease_until is None or step.status in (StepStatus.RUNNING, StepStatus.COMPENSATING), f"step {index} keeps its lease"
        assert min(step.attempts, step.undo_attempts, step.losses) >= 0
    assert _has_distinct_starts(run)
    if run.status in ACTIVE:
        _assert_will_be_looked_at(spec, run, now)
    else:
        _assert_ended(spec, run, now, by_hand)


def _has_distinct_starts(run: RunState) -> bool:
    starts = [step.started_seq for step in run.steps if step.started_seq is not None]
    return len(set(starts)) == len(starts) and all(start < run.started for start in starts)


def _assert_will_be_looked_at(spec: SagaSpec, run: RunState, now: float) -> None:
    wake = plan.wake_at(spec, run, now=now, pickup_sec=4)
    assert wake is not None
    assert run.hints <= plan.MAX_HINTS
    if run.status is SagaStatus.COMPENSATING:
        assert not any(step.status is StepStatus.RUNNING for step in run.steps)


def _assert_ended(spec: SagaSpec, run: RunState, now: float, by_hand: frozenset[int]) -> None:
    assert plan.work(spec, run, now=now) is None
    assert plan.wake_at(spec, run, now=now, pickup_sec=4) is None
    assert not any(step.lease_until is not None for step in run.steps)
    if run.status is SagaStatus.NEEDS_OPERATOR:
        assert run.error is not None
    elif run.status is SagaStatus.FAILED:
        assert not spec.auto_compensate
        assert run.cause is not None
    elif -1 not in by_hand:
        _assert_ended_well(spec, run, by_hand)


def _assert_ended_well(spec: SagaSpec, run: RunState, by_hand: frozenset[int]) -> None:
    if run.status is SagaStatus.COMPLETED:
        assert all(step.status in DONE for step in run.steps)
        return
    for index, (step, state) in enumerate(zip(spec.steps, run.steps, strict=True)):
        if step.undo is not None and state.may_have_happened and index not in by_hand:
            assert state.status is StepStatus.COMPENSATED, f"step {index} may have happened and is {state.status}"


def assert_sound_move(spec: SagaSpec, before: RunState, event: events.Event, verdict: Verdict) -> None:
    """Check what holds from one state to the next."""
    after = verdict.run
    if verdict.ignored:
        assert (after, verdict.changes) == (before, ())
        return
    _assert_legal(before, event, verdict)
    for old, new in zip(before.steps, after.steps, strict=True):
        assert new.epoch >= old.epoch
        is_verified = isinstance(event, events.Verified) and event.answer == "did_not"
        assert new.may_have_happened or not old.may_have_happened or is_verified
    if before.error is not None and after.error is not None and not isinstance(event, OPERATORS):
        assert after.error == before.error, "the first error is the cause"
    if isinstance(event, events.Claim):
        _assert_sound_claim(spec, before, event, after)


def _assert_legal(before: RunState, event: events.Event, verdict: Verdict) -> None:
    run, steps = before.status, [step.status for step in before.steps]
    by_operator = isinstance(event, OPERATORS)
    for change in verdict.changes:
        if change.step is None and change.old == change.new:
            assert (change.old, bool(change.reason)) == (run, True), "a note says something of the run as it is"
        elif change.step is None:
            allowed = SAGA_MOVES[run] | (_reopening(run) if by_operator else frozenset())
            assert (change.old, SagaStatus(change.new) in allowed) == (run, True)
            run = SagaStatus(change.new)
        else:
            old = steps[change.step]
            allowed_step = STEP_MOVES[old] | (OPERATOR_STEP_MOVES.get(old, frozenset()) if by_operator else frozenset())
            assert (change.old, StepStatus(change.new) in allowed_step) == (old, True)
            steps[change.step] = StepStatus(change.new)
    assert run is verdict.run.status, "a status changed without a move"
    assert steps == [step.status for step in verdict.run.steps], "a status changed without a move"


def _reopening(run: SagaStatus) -> frozenset[SagaStatus]:
    return OPERATOR_MOVES.get(run, frozenset()) | PARENT_MOVES.get(run, frozenset())


def _assert_sound_claim(spec: SagaSpec, before: RunState, claim: events.Claim, after: RunState) -> None:
    step = after.steps[claim.step]
    assert before.steps[claim.step].lease_until is None, "two workers hold one step"
    assert step.epoch == before.steps[claim.step].epoch + 1
    if claim.direction is Direction.DO:
        assert before.cause is None, "a step starts in a saga that turns back"
        assert before.status is not SagaStatus.COMPENSATING
        return
    assert spec.steps[claim.step].undo is not None
    assert before.status is SagaStatus.COMPENSATING
    for index, other in enumerate(before.steps):
        if plan.owes_undo(spec, before, index) and index != claim.step:
            assert (other.started_seq or 0) < (step.started_seq or 0), "what started later is undone first"
