"""What an operator may do to a run that has ended or stands still, each from the states the tables allow (pure)."""

from __future__ import annotations

from typing import Any

from sagas import events, plan
from sagas.draft import Draft, stop_waiting
from sagas.spec import SagaSpec
from sagas.states import OPERATOR_MOVES, OPERATOR_STEP_MOVES, PARENT_MOVES, Cause, IllegalMove, RunState, SagaStatus, StepStatus

_UNDOING = frozenset({StepStatus.COMPENSATING, StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED})


def retry(draft: Draft, event: events.Retry) -> str:
    """Forward again, or, of a run that had decided to undo, through the undos that are still owed (S11)."""
    if goes_back(draft.spec, draft.run):
        return compensate(draft, events.Compensate(now=event.now, reason=event.reason))
    _open_again(draft, SagaStatus.RUNNING, event.reason)
    draft.set(cause=None, error=None, deadline_at=event.deadline_at)
    _take_up_again(draft, event.reason)
    return ""


def _take_up_again(draft: Draft, reason: str) -> None:
    """Let the steps that stand still move again."""
    for index, step in enumerate(draft.run.steps):
        if step.status in (StepStatus.FAILED, StepStatus.UNKNOWN):
            to = StepStatus.PENDING if step.status is StepStatus.FAILED else StepStatus.WAITING
            anew: dict[str, Any] = {"attempts": 0, "losses": 0, "error": None, "verify_only": False, "due_at": None}
            draft.move_step(index, to, reason, moves=OPERATOR_STEP_MOVES, **anew)
        elif step.waiting_for == "timer":
            continue  # time has passed for it too
        elif step.waiting_for:
            draft.move_step(index, StepStatus.PENDING, reason, due_at=None, waiting_for="")
        elif step.status is StepStatus.WAITING:
            draft.set_step(index, due_at=None)


def goes_back(spec: SagaSpec, run: RunState) -> bool:
    """Tell whether a run that stands still was on its way back: something was undone, or nobody could begin the first undo."""
    has_begun = any(step.status in _UNDOING for step in run.steps)
    had_decided = run.status is SagaStatus.NEEDS_OPERATOR and run.cause is not None
    return has_begun or (had_decided and not plan.is_past_pivot(spec, run) and plan.stalled(spec, run) is None)


def compensate(draft: Draft, event: events.Compensate) -> str:
    if plan.is_past_pivot(draft.spec, draft.run):
        raise IllegalMove("a saga past its pivot only goes forward")
    moves = PARENT_MOVES if event.by_parent else OPERATOR_MOVES
    _open_again(draft, SagaStatus.COMPENSATING, event.reason, moves=moves)
    error = {"code": "E11430", "message": f"turned back: {event.reason}"}
    draft.set(cause=draft.run.cause or Cause.CANCELLED, error=draft.run.error or error)
    for index, step in enumerate(draft.run.steps):
        if step.status is StepStatus.COMPENSATION_FAILED:
            draft.move_step(index, StepStatus.COMPENSATING, event.reason, moves=OPERATOR_STEP_MOVES, undo_attempts=0, losses=0)
    stop_waiting(draft)
    return ""


def skip(draft: Draft, event: events.Skip) -> str:
    """Go on without a step, or without an undo, that an operator has dealt with by hand."""
    step = draft.run.steps[event.step]
    back = goes_back(draft.spec, draft.run)
    if (back and plan.owes_undo(draft.spec, draft.run, event.step)) or step.status is StepStatus.COMPENSATION_FAILED:
        _open_again(draft, SagaStatus.COMPENSATING, event.reason)
        draft.move_step(event.step, StepStatus.COMPENSATED, f"by hand: {event.reason}", moves=OPERATOR_STEP_MOVES, due_at=None)
        stop_waiting(draft)
    elif back:
        raise IllegalMove("a saga that has turned back does not go forward")
    else:
        _open_again(draft, SagaStatus.RUNNING, event.reason)
        quiet = {"due_at": None, "waiting_for": "", "verify_only": False}
        draft.move_step(event.step, StepStatus.SKIPPED, f"by hand: {event.reason}", moves=OPERATOR_STEP_MOVES, **quiet)
        draft.set(cause=None, error=None, deadline_at=event.deadline_at)
        _take_up_again(draft, event.reason)
    return ""


def _open_again(draft: Draft, to: SagaStatus, reason: str, *, moves: Any = OPERATOR_MOVES) -> None:
    """Let the run move again; whoever drove it before does not any more."""
    draft.move_run(to, reason, moves=moves)
    draft.set(blocked_at=None, blocked_reason="", hints=0, owner_until=None)


def resolve(draft: Draft, event: events.Resolve) -> str:
    """End a run by an operator's word: what was left was put right by hand. The steps keep what is known of them, and wait for nothing."""
    if event.outcome not in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED):
        raise IllegalMove(f"a saga is resolved as completed or compensated, not as {event.outcome}")
    draft.move_run(event.outcome, f"by hand: {event.reason}", moves=OPERATOR_MOVES)
    for index in range(len(draft.run.steps)):
        draft.set_step(index, waiting_for="", due_at=None)
    return ""
