"""Steps that wait: for a time, a signal, or an event on the bus. No worker runs them (pure)."""

from __future__ import annotations

from typing import Any

from sagas import events, inbox, plan
from sagas.draft import Draft, turn_back, words
from sagas.states import ACTIVE, DONE, Cause, IllegalMove, SagaStatus, StepStatus


def begin(draft: Draft, *, now: float) -> bool:
    """Let the wait steps whose turn it is begin to wait; return whether any did."""
    began = False
    while (index := _next(draft)) is not None:
        _begin(draft, index, now)
        began = True
    return began


def _next(draft: Draft) -> int | None:
    run, spec = draft.run, draft.spec
    first = next((i for i, step in enumerate(run.steps) if step.status not in DONE), None)
    going = run.status in (SagaStatus.PENDING, SagaStatus.RUNNING, SagaStatus.WAITING)
    if first is None or run.cause is not None or not going or plan.stalled(spec, run) is not None:
        return None
    ready = (i for i in plan.group_of(spec, first) if plan.is_wait(spec, i) and run.steps[i].status is StepStatus.PENDING)
    return next(ready, None)


def _begin(draft: Draft, index: int, now: float) -> None:
    step = draft.spec.steps[index]
    kind, _, rest = step.do.target.partition(":")
    wanted = "timer" if kind == "timer" else step.do.target
    due = now + (float(rest) if kind == "timer" else step.timeout_sec)
    draft.move_step(index, StepStatus.WAITING, step.do.target, due_at=due, waiting_for=wanted, started_seq=draft.run.started)
    draft.set(started=draft.run.started + 1)
    if inbox.has(draft, wanted):
        _end(draft, index)
        draft.set_step(index, output=inbox.take(draft, wanted))
    elif draft.run.status is not SagaStatus.WAITING:
        draft.move_run(SagaStatus.WAITING, f"waits for {step.do.target}")


def say_so(draft: Draft) -> None:
    """Let the run stand as waiting when its waits are all that goes on: it ran for a sibling, or another wait has ended."""
    run = draft.run
    if run.status is not SagaStatus.RUNNING or run.cause is not None or not any(step.waiting_for for step in run.steps):
        return
    left = [run.steps[i].waiting_for for i in plan.next_open(draft.spec, run)]
    if left and all(left):
        draft.move_run(SagaStatus.WAITING, f"waits for {', '.join(left)}")


def signal(draft: Draft, event: events.Signal) -> str:
    """End the wait for this signal, or keep it for a step that will wait for it."""
    waiting = _waiting(draft, event.name)
    if not waiting or draft.run.status is SagaStatus.NEEDS_OPERATOR:
        return inbox.keep_signal(draft, event)
    for index in waiting:
        _end(draft, index, event.payload)
    return ""


def event_came(draft: Draft, event: events.EventCame) -> str:
    """End one wait for this event; keep one that is the run's own, or that comes while an operator is asked."""
    waiting, is_parked = _waiting(draft, event.name), draft.run.status is SagaStatus.NEEDS_OPERATOR
    if inbox.knows(draft, event):
        return "that event is here already"
    if not waiting and not (event.is_its_own and inbox.waits_ahead(draft, event.name)):
        return "nothing waits for it"
    if not waiting or is_parked:
        return inbox.keep_event(draft, event)
    _end(draft, waiting[0], event.payload)
    inbox.remember(draft, event.name, event.event_id)
    return ""


def _waiting(draft: Draft, name: str) -> list[int]:
    if draft.run.status not in (*ACTIVE, SagaStatus.NEEDS_OPERATOR):
        raise IllegalMove(f"a {draft.run.status} saga takes no signals")
    return [i for i, step in enumerate(draft.run.steps) if step.waiting_for == name]


def pass_time(draft: Draft, *, now: float) -> None:
    """End the timers that are over, and give up the waits that took too long."""
    for index, step in enumerate(draft.run.steps):
        if not step.waiting_for or step.due_at is None or step.due_at > now:
            continue
        if step.waiting_for == "timer":
            _end(draft, index)
        else:
            _give_up(draft, index)


def _end(draft: Draft, index: int, payload: Any = None) -> None:
    done: dict[str, Any] = {"due_at": None, "waiting_for": "", "output": payload}
    draft.move_step(index, StepStatus.COMPLETED, f"{draft.run.steps[index].waiting_for} came", **done)
    if draft.run.status is not SagaStatus.RUNNING:
        draft.move_run(SagaStatus.RUNNING)
    draft.set(hints=0)


def _give_up(draft: Draft, index: int) -> None:
    step, wanted = draft.spec.steps[index], draft.run.steps[index].waiting_for
    error = {"code": "E11441", "message": f"{wanted} did not come within {step.timeout_sec:g} s", "step_id": step.step_id}
    ended: dict[str, Any] = {"due_at": None, "waiting_for": "", "error": error}
    draft.move_step(index, StepStatus.FAILED if step.required else StepStatus.SKIPPED, words(error), **ended)
    if draft.run.status is SagaStatus.WAITING:
        draft.move_run(SagaStatus.RUNNING)
    if step.required and plan.stalled(draft.spec, draft.run) is None:
        turn_back(draft, Cause.STEP_FAILED, error)
