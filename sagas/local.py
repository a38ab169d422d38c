"""Drive a saga in its caller's process, because its functions are closures that no worker can import.

Same machine, same rows, same compensation, same limits. Its process beats on the row (`sagas.beats`); when it dies, the
beats end and the sweeper parks the run for an operator (E11429), because nobody else has its functions.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import random
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError

from hub.aio import in_thread, in_waiting_thread
from hub.errors import IntegrationError
from sagas import aftermath, beats, calls, chain, claims, clock, engine, events, handover, plan, recovery, store
from sagas.calls import Ended
from sagas.claimed import Attempt
from sagas.limits import StepTimedOut
from sagas.states import FINAL, Direction, SagaStatus
from sagas.steps import Action
from sagas.store import Loaded

log = logging.getLogger(__name__)

FIRST_LOOK_SEC, LONGEST_LOOK_SEC = 0.05, 1.0
"""How often it is looked whether a run that waits can go on: each look is a commit."""
AWAY_SEC = 60.0
"""A database that is away for longer than this is told to the caller."""


async def drive(execution_id: str, functions: Mapping[str, Action]) -> None:
    """Run the saga to its end; `functions` are the closures by the target that its spec gives them."""
    pause_sec, away_since = FIRST_LOOK_SEC, math.inf
    with beats.kept(execution_id) as driven:
        while True:
            try:
                status, has_begun = await _look(execution_id, functions, driven)
                away_since = math.inf
            except (OperationalError, InterfaceError, IntegrationError) as exc:
                status, has_begun = SagaStatus.RUNNING, False
                away_since = min(away_since, time.monotonic())
                if not _may_pass(exc) or time.monotonic() - away_since > AWAY_SEC:
                    raise
                log.warning("database away, a saga goes on when it is back", extra={"execution_id": execution_id})
            if status in FINAL:
                return
            pause_sec = FIRST_LOOK_SEC if has_begun else min(LONGEST_LOOK_SEC, pause_sec * 1.5)
            if not has_begun:
                await asyncio.sleep(random.uniform(0.5, 1) * pause_sec)  # noqa: S311


def _may_pass(exc: Exception) -> bool:
    return not isinstance(exc, IntegrationError) or exc.is_recoverable


async def _look(execution_id: str, functions: Mapping[str, Action], driven: beats.Driven) -> tuple[SagaStatus, bool]:
    """Run what lies ready; return how the saga stood before, and whether a step was begun here."""
    loaded = await in_thread(_tick, execution_id)
    driven.heard(max(max(step.timeout_sec, step.undo_timeout_sec) for step in loaded.spec.steps))
    work = plan.work(loaded.spec, loaded.run, now=loaded.seen_at)
    if work is None:
        return loaded.run.status, False
    branches = (_run(loaded, branch[0], work.direction, functions) for branch in work.branches)
    begun = await asyncio.gather(*branches, return_exceptions=True)  # no branch is left alone because another one failed
    for one in begun:
        if isinstance(one, BaseException):
            raise one
    return loaded.run.status, any(begun)


def _tick(execution_id: str) -> Loaded:
    loaded, now = store.load(execution_id), clock.now()
    recovery.look_after_children(loaded)
    tick = events.Tick(now=now, jitter=random.random(), by_owner=True)  # noqa: S311
    applied = store.dispatch(execution_id, tick, loaded=loaded)
    aftermath.moved(applied)
    return Loaded(row=applied.row, spec=applied.spec, run=applied.run, seen_at=now)


async def _run(loaded: Loaded, index: int, direction: Direction, functions: Mapping[str, Action]) -> bool:
    """Run one step and return whether it was its turn; one that others carry out is waited for."""
    execution_id = str(loaded.row.pk)
    if chain.is_handed_over(loaded.spec.steps[index], direction):
        await in_waiting_thread(handover.begin, execution_id, index, direction, functions)
        return False
    attempt = await in_thread(_claim, execution_id, index, direction)
    if attempt is None:
        return False
    call = attempt.applied.spec.steps[index].call(direction)
    known = await in_waiting_thread(engine.verified, attempt, functions)
    if known is not None:
        ended = known
    elif call is not None and call.kind in ("local", "function"):
        function = functions.get(call.target) or calls.resolve(call.target)
        with attempt.span() as say_outcome:
            ended = await _run_function(function, attempt)
            say_outcome(ended)
    else:
        ended = await in_waiting_thread(engine.call_here, attempt)
    await in_thread(engine.record, attempt, ended)
    return True


def _claim(execution_id: str, index: int, direction: Direction) -> Attempt | None:
    return claims.claim(store.load(execution_id), index, direction)


async def _run_function(function: Action, attempt: Attempt) -> Ended:
    """Run an async function on the caller's loop and a sync one in a thread; either is given up at its limit."""
    given = (await in_thread(engine.payload, attempt)).for_function()
    limit = await in_thread(lambda: attempt.limit_sec)
    try:
        async with asyncio.timeout(limit):
            output = await _call(function, given)
    except TimeoutError as exc:
        return calls.ended_by_exception(StepTimedOut(f"ran longer than {limit:g} s: {exc}"))
    except Exception as exc:  # A step may raise anything: what it raised is its answer.
        return calls.raised(exc, execution_id=attempt.execution_id, step_id=given["_saga"]["step_id"])
    return calls.ended_with(output, undo=attempt.direction is Direction.UNDO, max_bytes=settings.HUB.saga_max_context_bytes)


async def _call(function: Action, given: dict[str, Any]) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(given)
    output = await in_waiting_thread(function, given)
    return await output if inspect.isawaitable(output) else output
