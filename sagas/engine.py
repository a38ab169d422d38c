"""Run one link of a saga: claim (commits), call (outside any transaction), record (commits), and say what follows.

The order of the three is the promise: "about to run" is committed before the effect (S4), and how it ended is committed
under the epoch of the claim, so a worker that was given up writes nothing (S7).
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.conf import settings

from hub.crashpoints import crash_point
from hub.error_codes import ErrorCode
from hub.telemetry import metrics, tracing
from sagas import calls, catalog, chain, clock, events, plan, roster, store
from sagas.calls import Ended, Payload
from sagas.spec import SagaSpec
from sagas.states import ACTIVE, DONE, Direction, RunState, SagaStatus
from sagas.store import Applied, Loaded

log = logging.getLogger(__name__)


class Next(Enum):
    """What a link's task does after it: let the chain go on, end it, or fail so that the error callback runs."""

    GO_ON = "go_on"
    STOP = "stop"
    TURNED_BACK = "turned_back"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """A claimed step: whoever holds the epoch may run it and say how it ended."""

    execution_id: str
    index: int
    direction: Direction
    epoch: int
    applied: Applied

    @property
    def limit_sec(self) -> float:
        """Return the seconds the call may still take: what the machine granted, cut at the saga's deadline."""
        return max(0.001, self.lease_until - settings.HUB.saga_lease_grace_sec - clock.now())

    @property
    def lease_until(self) -> float:
        return self.applied.run.steps[self.index].lease_until or 0.0

    def is_given_up(self) -> bool:
        """Tell whether the lease has ended, so that somebody else may act by now."""
        return clock.now() >= self.lease_until


def perform(execution_id: str, index: int, direction: Direction, *, task_id: str = "") -> Next:
    """Run one step here, as a function or an HTTP call."""
    loaded = store.load(execution_id)
    if not _is_turn(loaded, index, direction):
        return Next.STOP
    if not _can_run(loaded.spec, index, direction):
        block(execution_id, _missing(loaded.spec), patience_sec=settings.HUB.saga_version_wait_sec)
        return Next.STOP
    attempt = claim(loaded, index, direction, task_id=task_id)
    if attempt is None:
        return Next.STOP
    return record(attempt, call_here(attempt))


def call_here(attempt: Attempt) -> Ended:
    """Carry out a claimed function or HTTP call in this process."""
    call = attempt.applied.spec.steps[attempt.index].call(attempt.direction)
    if call is None:
        raise LookupError(f"step {attempt.index} of {attempt.execution_id} was claimed for {attempt.direction}, which it does not have")
    with _span(attempt):
        if attempt.is_given_up():
            # A process that was frozen since its claim: others count it as dead, so it must not act any more.
            return Ended(outcome="failed", error=calls.as_error(ErrorCode.FENCING_STALE, "the lease ended before the call began"))
        crash_point("call.before", attempt.execution_id, attempt.direction, attempt.index)
        ended = calls.run(call, payload(attempt), limit_sec=attempt.limit_sec, max_output_bytes=settings.HUB.saga_max_context_bytes)
        crash_point("call.after", attempt.execution_id, attempt.direction, attempt.index)
    return ended


def begin(execution_id: str, index: int, direction: Direction) -> Next:
    """Claim a step that lives in a layer's queue and send its task; `finish` or `failed` will say how it ended."""
    loaded = store.load(execution_id)
    call = loaded.spec.steps[index].call(direction)
    if call is None or not _is_turn(loaded, index, direction):
        return Next.STOP
    missing = roster.missing(call.target, call.where)
    if missing is not None:
        block(execution_id, missing.error, patience_sec=missing.patience_sec)
        return Next.STOP
    attempt = claim(loaded, index, direction)
    if attempt is None:
        return Next.STOP
    given = payload(attempt)
    kwargs: dict[str, Any] = {"context": given.for_function()} | ({"output": given.output} if given.undo else {})
    step = attempt.applied.spec.steps[index]
    with _span(attempt):
        sent = chain.hand_over(execution_id, step, index, direction, attempt.epoch, kwargs, given.headers())
    if sent:
        return Next.STOP
    unconfirmed = calls.as_error(ErrorCode.BROKER_UNAVAILABLE, "the broker did not confirm the layer's task")
    return record(attempt, Ended(outcome="unknown", error=unconfirmed))


def claim(loaded: Loaded, index: int, direction: Direction, *, task_id: str = "") -> Attempt | None:
    """Take the step under a lease, or return None because it is not this message's turn (duplicate, late, turned back)."""
    execution_id, step = str(loaded.row.pk), loaded.spec.steps[index]
    event = events.Claim(
        step=index,
        direction=direction,
        now=clock.now(),
        limit_sec=step.limit_sec(direction),
        grace_sec=settings.HUB.saga_lease_grace_sec,
        task_id=task_id,
    )
    applied = store.dispatch(execution_id, event, loaded=loaded)
    if applied.ignored:
        return None
    crash_point("claim.after", execution_id, direction, index)
    return Attempt(execution_id=execution_id, index=index, direction=direction, epoch=applied.run.steps[index].epoch, applied=applied)


def _is_turn(loaded: Loaded, index: int, direction: Direction) -> bool:
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
    applied = store.dispatch_patiently(attempt.execution_id, event, loaded=attempt.applied.loaded(), until=attempt.lease_until)
    crash_point("result.after", attempt.execution_id, attempt.direction, attempt.index)
    if applied.ignored:
        return Next.STOP
    _count(applied, attempt, ended)
    return what_follows(applied, attempt.index, attempt.direction)


def as_event(spec: SagaSpec, index: int, epoch: int, ended: Ended) -> events.Event:
    now, jitter = clock.now(), random.random()  # noqa: S311  (spreads retries, guards nothing)
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


def block(execution_id: str, error: dict[str, Any], *, patience_sec: float) -> None:
    """Say on the run why nobody could begin its next step; an operator is asked when that lasts too long."""
    store.dispatch(execution_id, events.Blocked(now=clock.now(), patience_sec=patience_sec, error=error))


def _can_run(spec: SagaSpec, index: int, direction: Direction) -> bool:
    """Functions run only where the very definition of the run is loaded (S21); calls by name run from the snapshot."""
    call = spec.steps[index].call(direction)
    return call is None or call.kind == "http" or (call.kind == "function" and catalog.holds(spec))


def _missing(spec: SagaSpec) -> dict[str, Any]:
    message = f"no worker that was asked holds {spec.saga_name} version {spec.version} ({spec.hash})"
    return calls.as_error(ErrorCode.PINNED_VERSION_MISSING, message)


def _span(attempt: Attempt) -> Any:
    step = attempt.applied.spec.steps[attempt.index]
    attributes = {
        "hub.saga.name": attempt.applied.spec.saga_name,
        "hub.saga.execution_id": attempt.execution_id,
        "hub.saga.step_id": step.step_id,
        "hub.saga.direction": attempt.direction.value,
        "hub.saga.epoch": attempt.epoch,
    }
    verb = "undo" if attempt.direction is Direction.UNDO else "step"
    return tracing.span(f"{verb} {step.step_id}", attributes=attributes, traceparent=attempt.applied.row.traceparent or None)


def _count(applied: Applied, attempt: Attempt, ended: Ended) -> None:
    undo = attempt.direction is Direction.UNDO
    name = "hub_saga_compensations_total" if undo else "hub_saga_steps_total"
    metrics.increment(name, saga=applied.spec.saga_name, outcome=ended.outcome)
    count_final(applied.spec, applied.before, applied.run)


def count_final(spec: SagaSpec, before: RunState, run: RunState) -> None:
    if run.status is not before.status and run.status not in ACTIVE:
        metrics.increment("hub_sagas_total", saga=spec.saga_name, status=run.status.value)
