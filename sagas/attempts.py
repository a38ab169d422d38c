"""Attempts: how one is claimed, and what follows from how it ended (pure).

Whatever ends an attempt names the epoch it was claimed under; an older epoch is a late reply and changes nothing (S7, S20).
Each function returns why the event was ignored, or an empty string.
"""

from __future__ import annotations

from typing import Any

from sagas import events, plan
from sagas.draft import Draft, deadline_error, turn_back, words
from sagas.spec import RetryPolicy, SagaSpec
from sagas.states import Cause, Direction, RunState, SagaStatus, StepStatus

MAX_HELD_SEC = 3_600.0
"""After so long of an undo that is not even tried, as where a breaker stays open, an operator is asked; a deadline it has none."""
MAX_LOSSES = 3
"""A step that takes its process down this often in a row is not tried again (S26)."""


def claim(draft: Draft, event: events.Claim) -> str:
    run = draft.run
    ready = plan.work(draft.spec, run, now=event.now)
    if ready is None or ready.direction is not event.direction or not ready.offers(event.step):
        return "not this step's turn"
    limit_sec = granted_sec(draft.spec, run, event)
    if limit_sec <= 0:
        return "the deadline has passed"
    lease: dict[str, Any] = {
        "epoch": run.steps[event.step].epoch + 1,
        "lease_until": event.now + min(limit_sec + event.grace_sec, event.lease_sec),
        "due_at": None,
        "task_id": event.task_id,
    }
    if event.direction is Direction.DO:
        _begin_do(draft, event.step, lease | {"honours": event.honours})
    else:
        _begin_undo(draft, event.step, lease)
    draft.set(hints=0, blocked_at=None, blocked_reason="")
    return ""


def granted_sec(spec: SagaSpec, run: RunState, event: events.Claim) -> float:
    """Return for how many seconds the call may run: what is asked for, cut at the saga's deadline; nothing is left at 0."""
    return min(event.limit_sec, run.deadline_at - event.now) if plan.heeds_deadline(spec, run) else event.limit_sec


def renewed(draft: Draft, event: events.Renewed) -> str:
    """Let whoever holds the step hold it longer; nobody gets back what was given up."""
    if _is_stale(draft, event.step, event.epoch):
        return "given up"
    if event.until <= (draft.run.steps[event.step].lease_until or 0):
        return "nothing new"
    draft.set_step(event.step, lease_until=event.until)
    return ""


def _begin_do(draft: Draft, index: int, lease: dict[str, Any]) -> None:
    step = draft.run.steps[index]
    if draft.run.status is not SagaStatus.RUNNING:
        draft.move_run(SagaStatus.RUNNING)
    if step.started_seq is None:
        lease["started_seq"] = draft.run.started
        draft.set(started=draft.run.started + 1)
    if step.verify_only:
        draft.move_step(index, StepStatus.RUNNING, "asks whether it happened", **lease)
    else:
        draft.move_step(index, StepStatus.RUNNING, f"attempt {step.attempts + 1}", attempts=step.attempts + 1, **lease)


def _begin_undo(draft: Draft, index: int, lease: dict[str, Any]) -> None:
    step = draft.run.steps[index]
    lease["undo_attempts"] = step.undo_attempts + 1
    if step.status is StepStatus.COMPENSATING:
        draft.set_step(index, **lease)
    else:
        draft.move_step(index, StepStatus.COMPENSATING, "undo attempt 1", **lease, losses=0)


def _is_stale(draft: Draft, index: int, epoch: int) -> bool:
    step = draft.run.steps[index]
    return step.epoch != epoch or step.lease_until is None


def succeeded(draft: Draft, event: events.Succeeded) -> str:
    if _is_stale(draft, event.step, event.epoch):
        return "late reply"
    if draft.run.steps[event.step].status is StepStatus.COMPENSATING:
        draft.move_step(event.step, StepStatus.COMPENSATED, lease_until=None, losses=0, undo_error=None)
    else:
        ended: dict[str, Any] = {"lease_until": None, "losses": 0, "error": None, "may_have_happened": True, "verify_only": False}
        draft.move_step(event.step, StepStatus.COMPLETED, output=event.output, served_by=event.served_by, **ended)
    return ""


def failed(draft: Draft, event: events.Failed) -> str:
    if _is_stale(draft, event.step, event.epoch):
        return "late reply"
    step = draft.run.steps[event.step]
    losses = step.losses + 1 if event.outcome == "lost" else 0
    draft.set_step(event.step, lease_until=None, losses=losses)
    if step.status is StepStatus.COMPENSATING:
        _undo_failed(draft, event)
    else:
        _do_failed(draft, event)
    return ""


def _do_failed(draft: Draft, event: events.Failed) -> None:
    ambiguous = event.outcome in ("unknown", "lost")
    step = draft.run.steps[event.step]
    draft.set_step(event.step, error=event.error, may_have_happened=step.may_have_happened or ambiguous)
    due = None if step.verify_only else _next_try(draft, event, draft.spec.steps[event.step].retry, step.attempts)
    if due is not None and (due < draft.run.deadline_at or not plan.heeds_deadline(draft.spec, draft.run)):
        draft.move_step(event.step, StepStatus.WAITING, words(event.error), due_at=due)
    elif _should_ask(draft, event.step):
        draft.move_step(event.step, StepStatus.WAITING, f"{words(event.error)}; to be verified", due_at=event.now, verify_only=True)
    else:
        _give_up(draft, event)


def _should_ask(draft: Draft, index: int) -> bool:
    """An ambiguous step whose author gave a `verify` is asked once more before the hub decides."""
    step, state = draft.spec.steps[index], draft.run.steps[index]
    turned = draft.run.cause is not None
    return step.verify is not None and state.may_have_happened and not state.verify_only and not turned


def verified(draft: Draft, event: events.Verified) -> str:
    """Take the author's word on an ambiguous step: it did not happen, or nobody knows. (Happened is `Succeeded`.)"""
    if _is_stale(draft, event.step, event.epoch):
        return "late reply"
    step = draft.run.steps[event.step]
    if event.answer == "did_not":
        draft.set_step(event.step, may_have_happened=False)
    if not step.verify_only:
        return ""
    draft.set_step(event.step, lease_until=None, losses=0)
    outcome: events.Outcome = "failed" if event.answer == "did_not" else "unknown"
    _give_up(draft, events.Failed(step=event.step, epoch=event.epoch, now=event.now, outcome=outcome, error=step.error or {}))
    draft.set_step(event.step, verify_only=False)
    return ""


def _next_try(draft: Draft, event: events.Failed, policy: RetryPolicy, attempts: int) -> float | None:
    """Return when to try again, or None when this was the last try."""
    # A child saga has no process of its own to take down: it may just go on for longer than one lease.
    poisonous = draft.spec.steps[event.step].do.kind != "saga" and draft.run.steps[event.step].losses >= MAX_LOSSES
    used_up = attempts > policy.max_retries or poisonous or _would_double(draft, event)
    turned = draft.run.cause is not None and draft.run.status is not SagaStatus.COMPENSATING
    if event.outcome == "refused" or not event.retryable or used_up or turned:
        return None
    delay = policy.delay_before(attempts, jitter=event.jitter)
    return event.now + max(delay, event.retry_after_sec or 0)


def _would_double(draft: Draft, event: events.Failed) -> bool:
    """Tell whether trying again could do it twice: it may have happened, and the service says it honours no key."""
    step = draft.run.steps[event.step]
    return step.honours == "none" and step.status is StepStatus.RUNNING and event.outcome in ("unknown", "lost")


def _give_up(draft: Draft, event: events.Failed) -> None:
    """End a step that gets no further try; the saga goes on without it, turns back, or stalls beyond its pivot."""
    index, step = event.step, draft.run.steps[event.step]
    out_of_time = event.now >= draft.run.deadline_at and plan.heeds_deadline(draft.spec, draft.run)
    if not draft.spec.steps[index].required and draft.run.cause is None and not out_of_time:
        draft.move_step(index, StepStatus.SKIPPED, words(event.error))
        return
    ended = StepStatus.UNKNOWN if step.may_have_happened else StepStatus.FAILED
    draft.move_step(index, ended, words(event.error), due_at=draft.late_window(index))
    if plan.stalled(draft.spec, draft.run) is not None:
        return
    if out_of_time:
        turn_back(draft, Cause.TIMEOUT, deadline_error(event.error))
    else:
        turn_back(draft, _cause(event.outcome), {**event.error, "step_id": draft.spec.steps[index].step_id})


def _cause(outcome: events.Outcome) -> Cause:
    return {"refused": Cause.REFUSED, "lost": Cause.LOST}.get(outcome, Cause.STEP_FAILED)


def _undo_failed(draft: Draft, event: events.Failed) -> None:
    step = draft.run.steps[event.step]
    draft.set_step(event.step, undo_error=event.error)
    due = _next_try(draft, event, draft.spec.steps[event.step].undo_retry, step.undo_attempts)
    if due is not None:
        draft.set_step(event.step, due_at=due)
    else:
        draft.move_step(event.step, StepStatus.COMPENSATION_FAILED, words(event.error))


def held(draft: Draft, event: events.Held) -> str:
    """Give the attempt back: nothing was tried."""
    if _is_stale(draft, event.step, event.epoch):
        return "late reply"
    step = draft.run.steps[event.step]
    if step.status is StepStatus.COMPENSATING:
        _hold_undo(draft, event)
        return ""
    tried = step.attempts if step.verify_only else step.attempts - 1
    draft.move_step(event.step, StepStatus.WAITING, event.reason, lease_until=None, attempts=tried, due_at=event.until)
    if draft.run.cause is None and draft.run.status is not SagaStatus.WAITING:  # a sibling may have been held before
        draft.move_run(SagaStatus.WAITING, event.reason)
    return ""


def _hold_undo(draft: Draft, event: events.Held) -> None:
    step = draft.run.steps[event.step]
    since = (step.undo_error or {}).get("held_since") or event.now
    error = {"code": "E11443", "message": f"not tried: {event.reason}", "held_since": since}
    draft.set_step(event.step, lease_until=None, due_at=event.until, undo_attempts=step.undo_attempts - 1, undo_error=error)
    if event.now - since >= MAX_HELD_SEC:
        draft.move_step(event.step, StepStatus.COMPENSATION_FAILED, words(error))
    else:
        draft.set(blocked_at=since, blocked_reason=event.reason)
