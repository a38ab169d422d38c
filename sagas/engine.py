"""Run one link of a saga: claim (commits), call (outside any transaction), record (commits), and say what follows.

The order of the three is the promise: "about to run" is committed before the effect (S4), and how it ended is committed
under the epoch of the claim, so a worker that was given up writes nothing (S7).
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from django.conf import settings

from hub.crashpoints import crash_point
from hub.errors import ErrorCode, IntegrationError
from registry_app import lookup
from sagas import aftermath, attempts, brake, calls, catalog, chain, clock, events, lease, locks, plan, roster, store
from sagas.calls import Ended, Payload
from sagas.claimed import Attempt
from sagas.spec import HONOURS, Call, SagaSpec, StepSpec
from sagas.states import DONE, Direction, SagaStatus
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
    if not is_turn(loaded, index, direction):
        return Next.STOP
    if not _can_run(loaded.spec, index, direction):
        block(execution_id, _missing(loaded.spec), patience_sec=settings.HUB.saga_version_wait_sec)
        return Next.STOP
    attempt = claim(loaded, index, direction, task_id=task_id)
    if attempt is None:
        return Next.STOP
    follows = record(attempt, call_here(attempt))
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
    if attempt.is_given_up():
        # A process that was frozen since its claim: others count it as dead, so it must not act any more.
        return Ended(outcome="failed", error=calls.as_error(ErrorCode.FENCING_STALE, "the lease ended before the call began"))
    known = verified(attempt)
    if known is not None:
        return known
    crash_point("call.before", attempt.execution_id, attempt.direction, attempt.index)
    ended = calls.run(call, payload(attempt), limit_sec=attempt.limit_sec, max_output_bytes=settings.HUB.saga_max_context_bytes)
    crash_point("call.after", attempt.execution_id, attempt.direction, attempt.index)
    return ended


def verified(attempt: Attempt, functions: Mapping[str, Callable[..., Any]] | None = None) -> Ended | None:
    """Ask the author's `verify` about earlier, ambiguous attempts; None when the action is to be called (again).

    `functions` are closures of this process, by the targets that the spec gives them.
    """
    spec, state = attempt.applied.spec.steps[attempt.index], attempt.applied.run.steps[attempt.index]
    if attempt.direction is Direction.UNDO or spec.verify is None or not state.may_have_happened:
        return None
    function = (functions or {}).get(spec.verify.target) or calls.resolve(spec.verify.target)
    answer = calls.ask(function, payload(attempt), limit_sec=attempt.limit_sec)
    if answer == "happened":
        return Ended(outcome="ok")
    if state.verify_only:
        return Ended(outcome="verified", answer=answer)
    if answer == "did_not":
        # Committed before the next try begins: if that one fails for certain, nothing is left to be undone.
        store.dispatch(attempt.execution_id, events.Verified(step=attempt.index, epoch=attempt.epoch, now=clock.now(), answer=answer))
    return None


def claim(loaded: Loaded, index: int, direction: Direction, *, task_id: str = "") -> Attempt | None:
    """Take the step under a lease, or return None because it is not this message's turn (duplicate, late, turned back)."""
    execution_id, step = str(loaded.row.pk), loaded.spec.steps[index]
    obstacle = _obstacle(loaded, index, direction)
    if obstacle:
        block(execution_id, obstacle, patience_sec=math.inf)
        return None
    honours = _honours(step, direction)
    event = events.Claim(
        step=index,
        direction=direction,
        now=clock.now(),
        limit_sec=step.limit_sec(direction),
        grace_sec=settings.HUB.saga_lease_grace_sec,
        lease_sec=_lease_sec(loaded, step, direction, honours),
        task_id=task_id,
        honours=honours,
    )
    applied = store.dispatch(execution_id, event, loaded=loaded)
    if applied.ignored:
        return None
    crash_point("claim.after", execution_id, direction, index)
    return Attempt(
        execution_id=execution_id,
        index=index,
        direction=direction,
        epoch=applied.run.steps[index].epoch,
        applied=applied,
        ends_at=event.now + attempts.granted_sec(applied.spec, applied.before, event),
    )


def _lease_sec(loaded: Loaded, step: StepSpec, direction: Direction, honours: str) -> float:
    """Return for how long a claim holds without a renewal.

    Nobody renews for a layer, a child saga or a run that its caller drives; and a service that honours no key must not be
    called, or undone, while an earlier call may still be on its way.
    """
    is_ours = not chain.is_handed_over(step, direction) and loaded.run.owner_until is None
    return settings.HUB.saga_lease_sec if is_ours and honours != "none" else math.inf


def _honours(step: StepSpec, direction: Direction) -> str:
    """Return what the service of a step says it honours, from its record in the registry (metadata ``honours``)."""
    if direction is Direction.UNDO or step.do.kind != "http":
        return ""
    try:
        declared = lookup.choose(step.do.where).metadata.get("honours", "")
    except IntegrationError:
        return ""  # the call itself will say what is wrong with the service
    return declared if declared in HONOURS else ""


def _obstacle(loaded: Loaded, index: int, direction: Direction) -> dict[str, Any] | None:
    """Return what keeps the step from beginning now: an entity another run holds (S24), or too many undos at once."""
    row, step = loaded.row, loaded.spec.steps[index]
    if direction is Direction.DO:
        held = locks.acquire(row) if row.lock_names and not row.started_count else None
        return None if held is None else calls.as_error(ErrorCode.ENTITY_LOCKED, locks.locked(held).message)
    if step.undo is None:
        return None
    lease_until = clock.now() + step.undo_timeout_sec + settings.HUB.saga_lease_grace_sec
    if brake.take(step.undo, str(row.pk), index, lease_until=lease_until):
        return None
    return calls.as_error(ErrorCode.COMPENSATION_FAILED, f"waits its turn: enough undos run against {brake.target_of(step.undo)}")


def is_turn(loaded: Loaded, index: int, direction: Direction) -> bool:
    """Tell whether this step may begin now in this direction."""
    work = plan.work(loaded.spec, loaded.run, now=clock.now())
    return work is not None and work.direction is direction and work.offers(index)


def payload(attempt: Attempt) -> Payload:
    """Return what the call gets: today's context forward, the action's own time backward (S27)."""
    run, spec, undo = attempt.applied.run, attempt.applied.spec, attempt.direction is Direction.UNDO
    step, state = spec.steps[attempt.index], run.steps[attempt.index]
    key = f"saga:{attempt.execution_id}:{step.step_id}"
    return Payload(
        context=plan.context(spec, run, upto=attempt.index if undo else None),
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


def record(attempt: Attempt, ended: Ended) -> Next:
    """Write how the attempt ended; an attempt that was given up meanwhile is a late reply and changes nothing."""
    event = as_event(attempt.applied.spec, attempt.index, attempt.epoch, ended)
    applied = store.dispatch_patiently(attempt.execution_id, event, loaded=attempt.applied.loaded(), until=attempt.ends_at)
    crash_point("result.after", attempt.execution_id, attempt.direction, attempt.index)
    if applied.ignored:
        return Next.STOP
    aftermath.attempt_ended(applied, attempt.direction, ended.outcome)
    return what_follows(applied, attempt.index, attempt.direction)


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
    """Return why nobody could begin the next step of a run even if it were sent on, or None when somebody could."""
    owed = plan.to_undo(loaded.spec, loaded.run) if loaded.run.cause else ()
    ahead = tuple(i for i, step in enumerate(loaded.run.steps) if step.status not in DONE)
    index = next(iter(owed or ahead), None)
    if index is None:
        return None
    direction = Direction.UNDO if owed else Direction.DO
    call = loaded.spec.steps[index].call(direction)
    if call is not None and call.kind == "task":
        missing = roster.missing(call.target, call.where)
        return missing.error if missing else None
    return None if _can_run(loaded.spec, index, direction) else _missing(loaded.spec)


def block(execution_id: str, error: dict[str, Any], *, patience_sec: float) -> None:
    """Say on the run why nobody could begin its next step; an operator is asked when that lasts too long."""
    store.dispatch(execution_id, events.Blocked(now=clock.now(), patience_sec=patience_sec, error=error))


def _can_run(spec: SagaSpec, index: int, direction: Direction) -> bool:
    """Functions run only where the very definition of the run is loaded (S21); calls by name run from the snapshot."""
    call = spec.steps[index].call(direction)
    return call is None or call.kind in ("http", "saga", "wait") or (call.kind == "function" and catalog.holds(spec))


def _missing(spec: SagaSpec) -> dict[str, Any]:
    message = f"no worker that was asked holds {spec.saga_name} version {spec.version} ({spec.hash})"
    return calls.as_error(ErrorCode.PINNED_VERSION_MISSING, message)
