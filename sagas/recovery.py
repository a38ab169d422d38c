"""What keeps a run moving when a message does not: error callbacks, layers' answers, and the sweeper.

None of these runs a step. Each moves a row, if the row still asks for it, and sends the rest of the chain.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from celery.result import AsyncResult
from django.conf import settings
from django.db import DatabaseError

from hub.celery import app
from hub.error_codes import ErrorCode
from hub.telemetry import metrics
from sagas import calls, chain, clock, engine, events, store
from sagas.calls import Ended
from sagas.models import SagaExecution
from sagas.states import ACTIVE, StepState

log = logging.getLogger(__name__)

BATCH = 200
POISON_PAUSE = timedelta(minutes=1)
_LOST_WITH_PROCESS = frozenset({"WorkerLostError", "TimeLimitExceeded", "SoftTimeLimitExceeded", "Terminated"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """What one sweep did: runs looked at, messages sent, rows that could not be handled."""

    looked_at: int
    sent: int
    failed: int


def sweep(limit: int = BATCH) -> Sweep:
    """Look at every run whose `next_wake_at` has come, oldest first, at most `limit` of them.

    Any number of sweepers may do this at once: each run is moved by whoever saves first, and messages are only hints.
    """
    due = SagaExecution.objects.filter(status__in=[s.value for s in ACTIVE], next_wake_at__lte=clock.moment(clock.now()))
    ids = [str(pk) for pk in due.order_by("next_wake_at").values_list("pk", flat=True)[:limit]]
    sent = failed = 0
    for execution_id in ids:
        try:
            sent += wake(execution_id)
        except Exception:  # One broken run must not keep the others from being rescued: it is put aside and said.
            failed += 1
            log.exception("saga could not be swept, put aside for a minute", extra={"execution_id": execution_id})
            _put_aside(execution_id)
    return Sweep(looked_at=len(ids), sent=sent, failed=failed)


def wake(execution_id: str) -> bool:
    """Let time work on a run (leases, due times, deadline), then send the rest of its chain; return whether one was sent."""
    applied = store.dispatch(execution_id, events.Tick(now=clock.now(), jitter=random.random()))  # noqa: S311
    if applied.ignored:
        return False
    lost = [i for i, step in enumerate(applied.before.steps) if _was_given_up(step, applied.run.steps[i])]
    if lost:
        metrics.increment("hub_saga_rescues_total", len(lost), saga=applied.spec.saga_name, cause="lease_ended")
    elif applied.run.hints > 1:
        metrics.increment("hub_saga_rescues_total", saga=applied.spec.saga_name, cause="not_picked_up")
    engine.count_final(applied.spec, applied.before, applied.run)
    return chain.send_rest(execution_id, applied.spec, applied.run, now=clock.now())


def _was_given_up(before: StepState, after: StepState) -> bool:
    return before.lease_until is not None and after.lease_until is None


def _put_aside(execution_id: str) -> None:
    try:
        SagaExecution.objects.filter(pk=execution_id).update(next_wake_at=clock.moment(clock.now()) + POISON_PAUSE)
    except DatabaseError:
        log.exception("saga could not be put aside", extra={"execution_id": execution_id})


def layer_finished(execution_id: str, index: int, epoch: int, result: Any) -> None:
    """Record a layer's result and send what follows."""
    ended = calls.checked_output(result, settings.HUB.saga_max_context_bytes)
    _conclude(execution_id, index, epoch, ended)


def layer_failed(execution_id: str, index: int, epoch: int, task_id: str) -> None:
    """Record that a layer's task failed, as far as its result tells how, and send what follows."""
    _conclude(execution_id, index, epoch, _read_failure(task_id))


def _conclude(execution_id: str, index: int, epoch: int, ended: Ended) -> None:
    loaded = store.load(execution_id)
    applied = store.dispatch(execution_id, engine.as_event(loaded.spec, index, epoch, ended), loaded=loaded)
    if not applied.ignored:
        engine.count_final(applied.spec, applied.before, applied.run)
        chain.send_rest(execution_id, applied.spec, applied.run, now=clock.now())


def _read_failure(task_id: str) -> Ended:
    """Tell a layer's refusal and its plain errors from what is not known.

    The layer's exception is read from the result backend by its name; a layer that stores no results, or whose process
    vanished, leaves the outcome unknown.
    """
    result = AsyncResult(task_id, app=app)
    raised = result.result if result.state == "FAILURE" else None
    name = type(raised).__name__
    if raised is None or name in _LOST_WITH_PROCESS:
        message = "the layer's task failed and left no reason" if raised is None else f"{name}: {raised}"
        return Ended(outcome="unknown", error=calls.as_error(ErrorCode.STEP_OUTCOME_UNKNOWN, message, name))
    if name == "Refused":
        return Ended(outcome="refused", error=calls.as_error(ErrorCode.STEP_REFUSED, f"{name}: {raised}", name))
    if name in ("OutcomeUnknown", "TimeoutError", "ConnectionError"):
        return Ended(outcome="unknown", error=calls.as_error(ErrorCode.STEP_OUTCOME_UNKNOWN, f"{name}: {raised}", name))
    return Ended(outcome="failed", error=calls.as_error(ErrorCode.STEP_FAILED, f"{name}: {raised}", name))


def link_failed(execution_id: str, task_id: str) -> None:
    """Answer the error callback of a link: give up an attempt whose process died, and send the rest of the chain.

    After a step that turned the saga back, the rest of the chain is the compensation.
    """
    loaded = store.load(execution_id)
    for index, step in enumerate(loaded.run.steps):
        if step.lease_until is not None and step.task_id == task_id:
            error = calls.as_error(ErrorCode.STEP_OUTCOME_UNKNOWN, "the process that ran it died")
            now, jitter = clock.now(), random.random()  # noqa: S311
            lost = events.Failed(step=index, epoch=step.epoch, now=now, outcome="lost", error=error, jitter=jitter)
            loaded = store.dispatch(execution_id, lost, loaded=loaded).loaded()
            break
    chain.send_rest(execution_id, loaded.spec, loaded.run, now=clock.now())
