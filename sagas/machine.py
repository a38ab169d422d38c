"""The saga machine: `apply(spec, run, event)` returns the run after the event, and nothing else happens (pure).

Read `sagas.states` for the tables, `sagas.attempts` for how attempts begin and end, `sagas.plan` for what follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sagas import attempts, events, operators, plan, waits
from sagas.draft import Draft, deadline_error, park, settle, turn_back, words
from sagas.spec import SagaSpec
from sagas.states import (
    ACTIVE,
    Cause,
    Change,
    Direction,
    IllegalMove,
    RunState,
    SagaStatus,
    StepState,
    StepStatus,
)

__all__ = ["Cause", "Direction", "IllegalMove", "RunState", "SagaStatus", "StepState", "StepStatus", "Verdict", "apply", "start"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The run after an event, the moves made, and why the event was ignored if it was."""

    run: RunState
    changes: tuple[Change, ...] = ()
    ignored: str = ""


def start(
    spec: SagaSpec, *, input: dict[str, Any], now: float, timeout_sec: float, owner_until: float | None = None, from_step: int = 0
) -> RunState:
    """Return a new run of `spec`; its deadline is absolute from here on (S17).

    Steps before `from_step` are skipped: another run did them, and undoing them is that run's business.
    """
    skipped, pending = StepState(status=StepStatus.SKIPPED), StepState()
    steps = tuple(skipped if index < from_step else pending for index in range(len(spec.steps)))
    return RunState(steps=steps, input=input, deadline_at=now + timeout_sec, owner_until=owner_until)


def apply(spec: SagaSpec, run: RunState, event: events.Event) -> Verdict:
    """Return what becomes of `run`; raise `IllegalMove` when the event asks for a move that the tables do not have."""
    draft = Draft(spec, run, now=event.now)
    ignored = _HANDLERS[type(event)](draft, event)
    if ignored:
        return Verdict(run=run, ignored=ignored)
    settle(draft)
    if waits.begin(draft, now=event.now):
        settle(draft)
    waits.say_so(draft)
    return Verdict(run=draft.run, changes=tuple(draft.changes))


def _tick(draft: Draft, event: events.Tick) -> str:
    run = draft.run
    if run.status not in ACTIVE:
        return "final"
    if run.owner_until is not None and not event.by_owner:
        return _owner_tick(draft, event)
    for index, step in enumerate(run.steps):
        if step.lease_until is not None and step.lease_until <= event.now:
            _lose(draft, index, event)
    waits.pass_time(draft, now=event.now)
    if event.now >= run.deadline_at and plan.heeds_deadline(draft.spec, draft.run):
        turn_back(draft, Cause.TIMEOUT, deadline_error(None))
    if plan.work(draft.spec, draft.run, now=event.now):
        draft.set(hints=min(draft.run.hints + 1, plan.MAX_HINTS))
    return ""


def _lose(draft: Draft, index: int, event: events.Tick) -> None:
    step = draft.run.steps[index]
    error = {"code": "E11442", "message": f"nothing was heard of attempt {step.attempts} before its lease ended"}
    attempts.failed(draft, events.Failed(step=index, epoch=step.epoch, now=event.now, outcome="lost", error=error, jitter=event.jitter))


def _owner_tick(draft: Draft, event: events.Tick) -> str:
    if draft.run.owner_until is None or draft.run.owner_until > event.now:
        return "its caller is alive"
    error = {"code": "E11429", "message": "the process that drove this saga is gone, and its functions with it"}
    park(draft, error)
    return ""


def _owner_beat(draft: Draft, event: events.OwnerBeat) -> str:
    if draft.run.status not in ACTIVE or draft.run.owner_until is None:
        return "not driven by its caller any more"
    draft.set(owner_until=event.until)
    return ""


def _cancel(draft: Draft, event: events.Cancel) -> str:
    if draft.run.status not in ACTIVE:
        raise IllegalMove(f"a {draft.run.status} saga cannot be cancelled")
    if plan.is_past_pivot(draft.spec, draft.run):
        raise IllegalMove("a saga past its pivot only goes forward")
    if draft.run.cause is not None:
        return "already turning back"
    turn_back(draft, Cause.CANCELLED, {"code": "E11430", "message": f"cancelled: {event.reason}"})
    if any(step.lease_until is not None for step in draft.run.steps):
        draft.note(f"cancelled: {event.reason}; what runs now ends first")
    return ""


def _blocked(draft: Draft, event: events.Blocked) -> str:
    run = draft.run
    if not plan.work(draft.spec, run, now=event.now):
        return "no work lies ready"
    same = run.blocked_at is not None and run.blocked_reason.startswith(event.error["code"])
    since = run.blocked_at if same and run.blocked_at is not None else event.now
    draft.set(blocked_at=since, blocked_reason=words(event.error))
    # Not while a sibling runs: what it does would be a late reply, and done again when the run is sent on.
    if event.now - since >= event.patience_sec and all(step.lease_until is None for step in run.steps):
        park(draft, event.error)
        return ""
    if run.status in (SagaStatus.PENDING, SagaStatus.RUNNING):
        draft.move_run(SagaStatus.WAITING, words(event.error))
    draft.set(hints=0)
    return ""


_HANDLERS: dict[type, Callable[[Draft, Any], str]] = {
    events.Claim: attempts.claim,
    events.Renewed: attempts.renewed,
    events.Succeeded: attempts.succeeded,
    events.Failed: attempts.failed,
    events.Held: attempts.held,
    events.Blocked: _blocked,
    events.Tick: _tick,
    events.Cancel: _cancel,
    events.OwnerBeat: _owner_beat,
    events.Signal: waits.signal,
    events.EventCame: waits.event_came,
    events.Verified: attempts.verified,
    events.Retry: operators.retry,
    events.Compensate: operators.compensate,
    events.Skip: operators.skip,
    events.Resolve: operators.resolve,
}
