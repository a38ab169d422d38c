"""Steps that others carry out: begin them, and take up how they ended.

A layer's task is sent with a ``finish`` behind it; a child saga tells its parent when it has ended, and the parent's sweep
looks by itself in case that message is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery.result import AsyncResult
from django.conf import settings

from hub.celery import app
from hub.error_codes import ErrorCode
from sagas import aftermath, calls, chain, children, claims, clock, engine, plan, spans, store
from sagas.calls import Ended
from sagas.claimed import Attempt
from sagas.engine import Next
from sagas.states import Direction

NO_EPOCH = -1
"""That of no attempt: whoever names it has a late reply."""


def begin(execution_id: str, index: int, direction: Direction, functions: Mapping[str, Callable[..., Any]] | None = None) -> Next:
    """Claim a step that others carry out, and ask them to. `functions` are closures of this process, as for `engine.verified`."""
    loaded = store.load(execution_id)
    call = loaded.spec.steps[index].call(direction)
    if call is None or not claims.is_turn(loaded, index, direction):
        return Next.STOP
    missing = engine.lacking(loaded, index, direction)
    if missing is not None:
        engine.block(execution_id, missing.error, patience_sec=missing.patience_sec)
        return Next.STOP
    attempt = claims.claim(loaded, index, direction)
    if attempt is None:
        return Next.STOP
    with attempt.span() as say_outcome:
        known = engine.verified(attempt, functions)
        ended = known or (children.ask(attempt) if call.kind == "saga" else _send(attempt))
        if ended is not None:
            say_outcome(ended)
    return Next.STOP if ended is None else _record(attempt, ended)


def _record(attempt: Attempt, ended: Ended) -> Next:
    follows, applied = engine.record(attempt, ended)
    if follows is not Next.GO_ON:
        return follows
    # No link stands behind one that hands over: the next goes out from here, not when the sweeper misses it.
    chain.send_rest(attempt.execution_id, applied.spec, applied.run, now=clock.now())
    return Next.STOP


def _send(attempt: Attempt) -> Ended | None:
    """Send the layer's task, unless the step was given up since its claim; None when it is on its way."""
    given = engine.payload(attempt)
    kwargs: dict[str, Any] = {"context": given.for_function()} | ({"output": given.output} if given.undo else {})
    step = attempt.applied.spec.steps[attempt.index]
    about = (attempt.execution_id, step, attempt.index, attempt.direction, attempt.epoch)
    late = engine.too_late(attempt)
    if late is not None:
        return late
    task_id = chain.hand_over(*about, kwargs, given.headers(), limit_sec=attempt.limit_sec)
    if task_id:
        spans.carried_by(task_id)
        return None
    return Ended(outcome="unknown", error=calls.as_error(ErrorCode.BROKER_UNAVAILABLE, "the broker did not confirm the layer's task"))


def layer_finished(execution_id: str, index: int, direction: Direction, epoch: int, result: Any) -> None:
    """Record a layer's result and send what follows."""
    # What an undo returns is not kept, so it cannot be too large or no JSON either.
    is_undo = direction is Direction.UNDO
    ended = Ended(outcome="ok") if is_undo else calls.checked_output(result, settings.HUB.saga_max_context_bytes)
    conclude(execution_id, index, direction, epoch, ended)


def layer_failed(execution_id: str, index: int, direction: Direction, epoch: int, task_id: str) -> None:
    """Record that a layer's task failed, as far as its result tells how, and send what follows."""
    conclude(execution_id, index, direction, epoch, _read_failure(task_id))


def child_ended(execution_id: str, index: int) -> None:
    """Take up how a child saga ended, if the parent's step still waits for it."""
    loaded = store.load(execution_id)
    step = loaded.run.steps[index]
    ended = children.look(loaded, index) if step.lease_until is not None else None
    if ended is not None:
        conclude(execution_id, index, plan.direction_of(step), step.epoch, ended)


def conclude(execution_id: str, index: int, direction: Direction, epoch: int, ended: Ended) -> None:
    """Record how a step ended that others carried out, and send the rest of the chain."""
    loaded = store.load(execution_id)
    if plan.direction_of(loaded.run.steps[index]) is not direction:
        # A database that was put back gives epochs out again: by its number alone an old undo would pass for a new attempt.
        epoch = NO_EPOCH
    applied = store.dispatch(execution_id, engine.as_event(loaded.spec, index, epoch, ended), loaded=loaded)
    if applied.ignored:
        return
    aftermath.attempt_ended(applied, direction, ended.outcome)
    chain.send_rest(execution_id, applied.spec, applied.run, now=clock.now())


def _read_failure(task_id: str) -> Ended:
    """Tell a layer's refusal from everything else, which leaves a doubt.

    The layer's exception is read from the result backend by its name. An error is no proof that nothing happened: the
    broker may have delivered the message twice, and the other copy may have acted.
    """
    result = AsyncResult(task_id, app=app)
    raised = result.result if result.state == "FAILURE" else None
    name, text = type(raised).__name__, f"{type(raised).__name__}: {raised}"
    if raised is None:
        error = calls.as_error(ErrorCode.STEP_OUTCOME_UNKNOWN, "the layer's task failed and left no reason")
        return Ended(outcome="unknown", error=error)
    if name == "Refused":
        return Ended(outcome="refused", error=calls.as_error(ErrorCode.STEP_REFUSED, text, name))
    return Ended(outcome="unknown", error=calls.as_error(ErrorCode.STEP_OUTCOME_UNKNOWN, text, name))
