"""Run one link of a saga: claim (commits), call (outside any transaction), record (commits), and say what follows.

The order of the three is the promise: "about to run" is committed before the effect (S4), and how it ended is committed
under the epoch of the claim, so a worker that was given up writes nothing (S7).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from django.conf import settings

from hub.crashpoints import crash_point
from hub.errors import ErrorCode
from hub.telemetry.sealing import is_unopened
from sagas import aftermath, attempts, calls, catalog, chain, claims, clock, events, lease, plan, roster, store
from sagas.calls import Ended, Payload
from sagas.claimed import Attempt
from sagas.models import SagaTransition
from sagas.spec import Call, SagaSpec
from sagas.states import DONE, Direction, SagaStatus, StepStatus
from sagas.store import Applied, Loaded

log = logging.getLogger(__name__)


class Next(Enum):
    """What a link's task does after it: let the chain go on, end it, or fail so that the error callback runs."""

    GO_ON = "go_on"
    STOP = "stop"
    TURNED_BACK = "turned_back"


def perform(execution_id: str, index: int, direction: Direction, *, task_id: str = "") -> Next:
    """Run one step here, as a function or an HTTP call."""
    loaded = store.load(execution_id)
    if not claims.is_turn(loaded, index, direction):
        return Next.STOP
    missing = lacking(loaded, index, direction)
    if missing is not None:
        block(execution_id, missing.error, patience_sec=missing.patience_sec)
        return Next.STOP
    attempt = claims.claim(loaded, index, direction, task_id=task_id)
    follows = Next.STOP
    while attempt is not None:
        follows, attempt = record_and_go_on(attempt, call_here(attempt))
    if follows is Next.GO_ON and loaded.spec.inline:
        return _go_on_here(execution_id, loaded.spec, direction, task_id)
    return follows


def _go_on_here(execution_id: str, spec: SagaSpec, direction: Direction, task_id: str) -> Next:
    """Run the next step in this task too, each move committed as before; a layer's step is sent."""
    loaded = store.load(execution_id)
    work = plan.work(loaded.spec, loaded.run, now=clock.now())
    if work is None or chain.is_handed_over(spec.steps[work.steps[0]], direction):
        chain.send_rest(execution_id, loaded.spec, loaded.run, now=clock.now())
        return Next.STOP
    return perform(execution_id, work.steps[0], direction, task_id=task_id)


def call_here(attempt: Attempt) -> Ended:
    """Carry out a claimed function or HTTP call in this process."""
    call = attempt.applied.spec.steps[attempt.index].call(attempt.direction)
    if call is None:
        raise LookupError(f"step {attempt.index} of {attempt.execution_id} was claimed for {attempt.direction}, which it does not have")
    with attempt.span() as say_outcome:
        with lease.kept(attempt):
            ended = _call(attempt, call)
        say_outcome(ended)
    return ended


def _call(attempt: Attempt, call: Call) -> Ended:
    known = too_late(attempt) or verified(attempt)
    if known is not None:
        return known
    crash_point("call.before", attempt.execution_id, attempt.direction, attempt.index)
    ended = calls.run(call, payload(attempt), limit_sec=attempt.limit_sec, max_output_bytes=settings.HUB.saga_max_context_bytes)
    crash_point("call.after", attempt.execution_id, attempt.direction, attempt.index)
    return ended


def too_late(attempt: Attempt) -> Ended | None:
    """Stop a process that was frozen since its claim: others count it as dead, so it must not act any more."""
    if not attempt.is_given_up():
        return None
    return Ended(outcome="failed", error=calls.as_error(ErrorCode.FENCING_STALE, "the lease ended before the call began"))


def verified(attempt: Attempt, functions: Mapping[str, Callable[..., Any]] | None = None) -> Ended | None:
    """Ask the author's `verify` about earlier, ambiguous attempts; None when the action is to be called (again).

    `functions` are closures of this process, by the targets that the spec gives them.
    """
    state = attempt.applied.run.steps[attempt.index]
    verify = _verify(attempt.applied.loaded(), attempt.index, attempt.direction)
    if verify is None:
        return None
    function = (functions or {}).get(verify.target) or calls.resolve(verify.target)
    answer = calls.ask(function, payload(attempt), limit_sec=attempt.limit_sec)
    if answer == "happened":
        return Ended(outcome="ok")
    if state.verify_only:
        return Ended(outcome="verified", answer=answer)
    if answer == "did_not":
        # Committed before the next try begins: if that one fails for certain, nothing is left to be undone.
        store.dispatch(attempt.execution_id, events.Verified(step=attempt.index, epoch=attempt.epoch, now=clock.now(), answer=answer))
    return None


def _verify(loaded: Loaded, index: int, direction: Direction) -> Call | None:
    """Return what is to be asked before a step is tried (again), or None when there is no doubt or nobody to ask."""
    return loaded.spec.steps[index].verify if direction is Direction.DO and loaded.run.steps[index].may_have_happened else None


def payload(attempt: Attempt) -> Payload:
    """Return what the call gets: today's context forward, the action's own time backward (S27)."""
    run, spec, undo = attempt.applied.run, attempt.applied.spec, attempt.direction is Direction.UNDO
    step, state = spec.steps[attempt.index], run.steps[attempt.index]
    key = f"saga:{attempt.execution_id}:{step.step_id}"
    return Payload(
        context=_context(attempt),
        output=state.output,
        undo=undo,
        idempotency_key=f"{key}:{'undo' if undo else 'do'}",
        undo_key=f"{key}:do" if undo else f"{key}:undo",
        execution_id=attempt.execution_id,
        saga_name=spec.saga_name,
        step_id=step.step_id,
        attempt=state.undo_attempts if undo else state.attempts,
        prefer_service_id=state.served_by,
    )


def _context(attempt: Attempt) -> dict[str, Any]:
    spec, run, index = attempt.applied.spec, attempt.applied.run, attempt.index
    if attempt.direction is Direction.DO:
        return plan.context(spec, run)
    seen = _seen_by_action(attempt) if spec.steps[index].parallel_group else None
    return plan.context(spec, run, upto=index, seen=seen)


def _seen_by_action(attempt: Attempt) -> frozenset[str] | None:
    """Return the steps that had completed when the last try of a step began, by the history; None if none ever began.

    In a parallel group the order of start does not tell: a sibling may end between two tries, or behind the last one.
    """
    moves = SagaTransition.objects.filter(execution=attempt.applied.row.pk).exclude(step_id="")
    step_id = attempt.applied.spec.steps[attempt.index].step_id
    # By its reason: a claim that only asks whether it happened calls no action.
    tries = moves.filter(step_id=step_id, new=StepStatus.RUNNING.value, reason__startswith="attempt ")
    last = tries.order_by("-id").values_list("id", flat=True).first()
    if last is None:
        return None
    return frozenset(moves.filter(new=StepStatus.COMPLETED.value, id__lt=last).values_list("step_id", flat=True))


def record(attempt: Attempt, ended: Ended, *, then: events.Claim | None = None) -> tuple[Next, Applied]:
    """Write how the attempt ended; an attempt that was given up meanwhile is a late reply and changes nothing."""
    event = as_event(attempt.applied.spec, attempt.index, attempt.epoch, ended)
    applied = store.dispatch_patiently(attempt.execution_id, event, loaded=attempt.applied.loaded(), until=attempt.ends_at, then=then)
    crash_point("result.after", attempt.execution_id, attempt.direction, attempt.index)
    if applied.ignored:
        return Next.STOP, applied
    aftermath.attempt_ended(applied, attempt.direction, ended.outcome)
    follows = Next.GO_ON if applied.went_on else what_follows(applied, attempt.index, attempt.direction)
    return follows, applied


def record_and_go_on(attempt: Attempt, ended: Ended) -> tuple[Next, Attempt | None]:
    """Write how the attempt ended; where the saga runs on in this task, claim its next step by the same commit."""
    event = _next_claim(attempt, ended)
    follows, applied = record(attempt, ended, then=event)
    if event is None or not applied.went_on:
        return follows, None
    return follows, claims.attempt_of(applied, event, granted_sec=attempts.granted_sec(applied.spec, applied.run, event))


def _next_claim(attempt: Attempt, ended: Ended) -> events.Claim | None:
    """Return the claim of the step behind one that this task may run as well, or None; the machine has the last word."""
    loaded, index = attempt.applied.loaded(), attempt.index + 1
    spec = loaded.spec
    if not spec.inline or attempt.direction is Direction.UNDO or ended.outcome != "ok" or index == len(spec.steps):
        return None
    if spec.steps[index].do.kind not in ("function", "http") or lacking(loaded, index, Direction.DO) is not None:
        return None
    return claims.event_for(loaded, index, Direction.DO, loaded.run.steps[attempt.index].task_id)


def as_event(spec: SagaSpec, index: int, epoch: int, ended: Ended) -> events.Event:
    now, jitter = clock.now(), random.random()  # noqa: S311  (spreads retries, guards nothing)
    if ended.outcome == "verified":
        return events.Verified(step=index, epoch=epoch, now=now, answer=ended.answer)
    if ended.outcome == "ok":
        return events.Succeeded(step=index, epoch=epoch, now=now, output=ended.output, served_by=ended.served_by)
    error = ended.error or {}
    if ended.outcome == "held":
        # Up to a quarter later than asked, so that what was held does not come back all at once.
        until = now + (ended.retry_after_sec or calls.DEFAULT_HOLD_SEC) * (1 + jitter / 4)
        return events.Held(step=index, epoch=epoch, now=now, until=until, reason=error.get("message", ""))
    return events.Failed(
        step=index,
        epoch=epoch,
        now=now,
        outcome=ended.outcome,
        error=error,
        retryable=ended.retryable and error.get("kind") not in spec.steps[index].non_retryable,
        retry_after_sec=ended.retry_after_sec,
        jitter=jitter,
    )


def what_follows(applied: Applied, index: int, direction: Direction) -> Next:
    """Say what the link's task does next; where the next work is not linked behind it, send that work."""
    run, now = applied.run, clock.now()
    if run.status is SagaStatus.COMPENSATING and direction is Direction.DO and run.steps[index].status not in DONE:
        return Next.TURNED_BACK
    work = plan.work(applied.spec, run, now=now)
    if work is not None and work.direction is direction and _is_linked(applied.spec, index, direction, work.steps[0]):
        return Next.GO_ON
    chain.send_rest(str(applied.row.pk), applied.spec, run, now=now)
    return Next.STOP


def _is_linked(spec: SagaSpec, index: int, direction: Direction, following: int) -> bool:
    """Tell whether the chain that carried this link carries the following one too."""
    return direction is Direction.UNDO or (not spec.steps[index].parallel_group and following in plan.segment(spec, index))


def hindrance(loaded: Loaded) -> dict[str, Any] | None:
    """Return why nobody could begin what comes next of a run even if it were sent on, or None when somebody could."""
    spec, run = loaded.spec, loaded.run
    if spec.needs_its_caller:
        return _missing(spec)
    owed = plan.to_undo(spec, run)[:1] if run.cause else ()
    direction = Direction.UNDO if owed else Direction.DO
    missing = (lacking(loaded, index, direction) for index in owed or plan.next_open(spec, run))
    return next((one.error for one in missing if one), None)


def lacking(loaded: Loaded, index: int, direction: Direction) -> roster.Missing | None:
    """Return what this process, or a layer, lacks to begin a step, or None when nothing is missing."""
    call = loaded.spec.steps[index].call(direction)
    if is_unopened([loaded.run.input, plan.outputs(loaded.spec, loaded.run)]):
        return roster.Missing(error=_sealed_otherwise(), patience_sec=settings.HUB.saga_version_wait_sec)
    if not _has_functions(loaded, index, direction):
        return roster.Missing(error=_missing(loaded.spec), patience_sec=settings.HUB.saga_version_wait_sec)
    if call is not None and call.kind == "task":
        return roster.missing(call.target, call.where)
    if call is not None and call.kind == "saga" and direction is Direction.DO and not catalog.defines(call.target):
        error = calls.as_error(ErrorCode.DEFINITION_NOT_FOUND, f"no worker that was asked defines the child saga {call.target!r}")
        return roster.Missing(error=error, patience_sec=settings.HUB.saga_version_wait_sec)
    return None


def block(execution_id: str, error: dict[str, Any], *, patience_sec: float) -> None:
    """Say on the run why nobody could begin its next step; an operator is asked when that lasts too long."""
    store.dispatch(execution_id, events.Blocked(now=clock.now(), patience_sec=patience_sec, error=error))


def _has_functions(loaded: Loaded, index: int, direction: Direction) -> bool:
    """Functions run only where the very definition of the run is loaded (S21); calls by name run from the snapshot."""
    step = loaded.spec.steps[index]
    kinds = {call.kind for call in (step.call(direction), _verify(loaded, index, direction)) if call}
    if kinds.isdisjoint(("function", "local")) or loaded.run.owner_until is not None:  # its caller has them
        return True
    return "local" not in kinds and catalog.holds(loaded.spec)


def _sealed_otherwise() -> dict[str, Any]:
    # A step would take the seal for the password that is in it.
    message = "what this saga keeps was sealed by another secret key than that of the worker that was asked: give HUB_SECRET_KEY"
    return calls.as_error(ErrorCode.SAGA_SECRETS_UNREADABLE, f"{message} to all processes as it was")


def _missing(spec: SagaSpec) -> dict[str, Any]:
    version = spec.version if spec.version == spec.hash else f"{spec.version} ({spec.hash})"
    message = f"no worker that was asked holds {spec.saga_name} version {version}"
    return calls.as_error(ErrorCode.PINNED_VERSION_MISSING, message)
