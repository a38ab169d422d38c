"""The run while one event is worked in: the only place where a status changes (pure).

Whatever changes a status goes through `Draft.move_run` or `Draft.move_step`, which look the move up in the tables of
`sagas.states`; a move that is not there raises `IllegalMove` and nothing is changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sagas import plan
from sagas.spec import SagaSpec
from sagas.states import ACTIVE, DONE, SAGA_MOVES, STEP_MOVES, Cause, Change, IllegalMove, RunState, SagaStatus, StepStatus


class Draft:
    """The run while one event is worked in; the only writer of statuses."""

    def __init__(self, spec: SagaSpec, run: RunState, *, now: float) -> None:
        self.spec, self.run, self.now, self.changes = spec, run, now, list[Change]()

    def set(self, **fields: Any) -> None:
        self.run = replace(self.run, **fields)

    def set_step(self, index: int, **fields: Any) -> None:
        steps = list(self.run.steps)
        steps[index] = replace(steps[index], **fields)
        self.run = replace(self.run, steps=tuple(steps))

    def note(self, reason: str) -> None:
        """Keep in the history what changes no status."""
        self.changes.append(Change(step=None, old=self.run.status, new=self.run.status, reason=reason))

    def late_window(self, index: int) -> float | None:
        """Return when the undo of a step in doubt may begin: a service without tombstones gets time for a late request (S6)."""
        step = self.run.steps[index]
        late = step.may_have_happened and step.honours in ("key", "none")
        return self.now + self.spec.steps[index].timeout_sec if late else None

    def move_run(self, to: SagaStatus, reason: str = "", *, moves: Any = SAGA_MOVES) -> None:
        old = self.run.status
        if to not in moves.get(old, ()):
            raise IllegalMove(f"a {old} saga does not become {to}")
        self.changes.append(Change(step=None, old=old, new=to, reason=reason))
        self.set(status=to)

    def move_step(self, index: int, to: StepStatus, reason: str = "", *, moves: Any = STEP_MOVES, **fields: Any) -> None:
        old = self.run.steps[index].status
        if to not in moves.get(old, ()):
            raise IllegalMove(f"a {old} step does not become {to}")
        self.changes.append(Change(step=index, old=old, new=to, reason=reason))
        self.set_step(index, status=to, **fields)


def turn_back(draft: Draft, cause: Cause, error: Any) -> None:
    """Decide to undo: no step starts from here on. The first error stays the cause (S11)."""
    if draft.run.cause is None:
        draft.set(cause=cause, error=error, blocked_at=None, blocked_reason="")


def settle(draft: Draft) -> None:
    """Move the run as far as its steps allow: into compensation when nothing runs any more, and to its end."""
    run = draft.run
    if run.status not in ACTIVE or any(step.lease_until is not None for step in run.steps):
        return
    if run.cause is not None and run.status is not SagaStatus.COMPENSATING:
        _about_to_turn_back(draft)
    stalled = plan.stalled(draft.spec, draft.run)
    if run.status is SagaStatus.COMPENSATING:
        _end_compensation(draft)
    elif stalled is not None:
        # For an operator: the hub must not send it on because a sibling that nobody could begin can be begun again.
        draft.set(blocked_at=None, blocked_reason="")
        park(draft, _stall_error(draft, stalled))
    elif draft.run.cause is not None:
        draft.move_run(SagaStatus.COMPENSATING if draft.spec.auto_compensate else SagaStatus.FAILED, draft.run.cause)
        settle(draft)
    elif all(step.status in DONE for step in run.steps):
        draft.move_run(SagaStatus.COMPLETED)


def _about_to_turn_back(draft: Draft) -> None:
    """Nothing is tried again; but if the pivot happened meanwhile, the run only goes forward from here."""
    if plan.is_past_pivot(draft.spec, draft.run):
        draft.note(f"goes on, for its pivot has happened: {words(draft.run.error or {})}")
        draft.set(cause=None, error=None)
    else:
        stop_waiting(draft)


def _stall_error(draft: Draft, index: int) -> dict[str, Any]:
    step_id, last = draft.spec.steps[index].step_id, draft.run.steps[index].error
    message = f"{step_id} ended badly where the saga cannot turn back any more"
    return {"code": "E11433", "message": message, "step_id": step_id, "last": last}


def stop_waiting(draft: Draft) -> None:
    """A step that waited for its next try gets none: it is what its tries so far say."""
    for index, step in enumerate(draft.run.steps):
        if step.status is not StepStatus.WAITING:
            continue
        ended = StepStatus.UNKNOWN if step.may_have_happened else StepStatus.FAILED if step.attempts else StepStatus.PENDING
        draft.move_step(index, ended, "no further try", due_at=draft.late_window(index), waiting_for="", verify_only=False)


def _end_compensation(draft: Draft) -> None:
    if plan.to_undo(draft.spec, draft.run):
        return
    broken = [i for i, step in enumerate(draft.run.steps) if step.status is StepStatus.COMPENSATION_FAILED]
    if not broken:
        draft.move_run(SagaStatus.COMPENSATED)
        return
    names = ", ".join(draft.spec.steps[i].step_id for i in broken)
    draft.move_run(SagaStatus.NEEDS_OPERATOR, f"rollback incomplete: {names} could not be undone")


def park(draft: Draft, error: Any) -> None:
    draft.move_run(SagaStatus.NEEDS_OPERATOR, words(error))
    draft.set(error=draft.run.error or error, owner_until=None)
    for index, step in enumerate(draft.run.steps):
        if step.lease_until is not None:
            # Nobody reports for this attempt any more; what it did is not known.
            draft.set_step(index, lease_until=None, may_have_happened=True)
            if step.status is StepStatus.RUNNING:
                draft.move_step(index, StepStatus.UNKNOWN, words(error), due_at=draft.late_window(index))


def deadline_error(last: Any) -> dict[str, Any]:
    error: dict[str, Any] = {"code": "E11445", "message": "the saga ran over its time"}
    return {**error, "last": last} if last else error


def words(error: Any) -> str:
    return f"{error.get('code', '')}: {error.get('message', '')}"
