"""What keeps a run moving when a message does not: the error callback of a link, and the sweeper.

None of these runs a step. Each moves a row, if the row still asks for it, and sends the rest of the chain.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction
from redis.exceptions import RedisError

from hub.crashpoints import crash_point
from hub.errors import ErrorCode, IntegrationError
from hub.outages import outage
from hub.redis_client import client
from hub.telemetry import conventions, metrics, tracing
from sagas import aftermath, calls, chain, children, clock, engine, events, handover, plan, reruns, services, store
from sagas.models import SagaExecution
from sagas.states import ACTIVE, SagaStatus, StepState
from sagas.store import Applied, Loaded

log = logging.getLogger(__name__)

BATCH = 200
CROWDED = 100
"""From this many waiting messages on, the queue counts as crowded."""
LONGEST_SWEEPS = 2
SWEEPING_KEY = "hub:sagas:sweeping"
POISON_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """What one sweep did: runs looked at, messages sent, rows that could not be handled."""

    looked_at: int
    sent: int
    failed: int


def sweep(limit: int = BATCH) -> Sweep:
    """Look at every run whose `next_wake_at` has come, oldest first, at most `limit` of them.

    Any number of sweepers may be there: one sweeps at a time, for at most two sweeps' time, and leaves the rest to the next.
    Slow sweeps would otherwise pile up and keep every worker busy. That is thrift, no lock: each run is moved by whoever
    saves first, and messages are only hints.
    """
    with _alone() as is_alone:
        return _sweep(limit) if is_alone else Sweep(looked_at=0, sent=0, failed=0)


@contextmanager
def _alone() -> Iterator[bool]:
    """Tell whether nobody else sweeps now. A sweeper that dies is forgotten in a moment; without Redis everybody sweeps."""
    token, longest_ms = uuid.uuid4().hex, max(1, int(LONGEST_SWEEPS * settings.HUB.saga_sweep_sec * 1000))
    try:
        is_alone = bool(client().set(SWEEPING_KEY, token, nx=True, px=longest_ms))
    except (RedisError, OSError):
        is_alone = True
    try:
        yield is_alone
    finally:
        with suppress(RedisError, OSError):
            if is_alone and client().get(SWEEPING_KEY) == token:
                client().delete(SWEEPING_KEY)


def _sweep(limit: int) -> Sweep:
    give_up_at = time.monotonic() + LONGEST_SWEEPS * settings.HUB.saga_sweep_sec
    due = SagaExecution.objects.filter(status__in=[s.value for s in ACTIVE], next_wake_at__lte=clock.moment(clock.now()))
    ids = [str(pk) for pk in due.order_by("next_wake_at").values_list("pk", flat=True)[:limit]]
    looked_at = sent = failed = 0
    crowded = bool(ids) and chain.backlog() > CROWDED
    for execution_id in ids:
        if time.monotonic() > give_up_at:
            break
        looked_at += 1
        try:
            sent += wake(execution_id, crowded=crowded)
        except Exception as exc:  # One broken run must not keep the others from being rescued: it is put aside and said.
            if _is_away(exc):
                raise  # no run's fault, and the others could not be moved either
            failed += 1
            log.exception("saga could not be swept, put aside for a minute", extra={"execution_id": execution_id})
            _put_aside(execution_id)
    return Sweep(looked_at=looked_at, sent=sent, failed=failed)


def _is_away(exc: Exception) -> bool:
    """Tell whether the whole database is away or takes no change, not one row of it that somebody holds."""
    found = outage(exc)
    return found is not None and found.code in (ErrorCode.DATABASE_UNAVAILABLE, ErrorCode.DATABASE_FULL)


def wake(execution_id: str, *, crowded: bool = False) -> bool:
    """Let time work on a run (leases, due times, deadline), then send the rest of its chain; return whether one was sent.

    A run that is not due any more was seen to by another sweeper since the list was made. Where the queue is `crowded`, what
    was not picked up most likely waits in it: only every fourth look sends it again, or repeats would crowd out the first
    copies.
    """
    loaded = store.load(execution_id)
    wake_at = loaded.row.next_wake_at
    if wake_at is None or wake_at > clock.moment(clock.now()):
        return False
    look_after_children(loaded)
    applied = store.dispatch(execution_id, events.Tick(now=clock.now(), jitter=random.random()), loaded=loaded)  # noqa: S311
    if applied.ignored:
        return False
    lost = [i for i, step in enumerate(applied.before.steps) if _was_given_up(step, applied.run.steps[i])]
    cause = "lease_ended" if lost else "not_picked_up" if applied.run.hints > 1 else ""
    if not cause:
        return _go_on(applied)
    metrics.increment("hub_saga_rescues_total", len(lost) or 1, saga=applied.spec.saga_name, cause=cause)
    with _rescue_span(applied, cause):
        return _go_on(applied, spare=crowded and applied.run.hints > 1 and applied.run.hints % 4 != 0)


def _go_on(applied: Applied, *, spare: bool = False) -> bool:
    aftermath.moved(applied)
    return not spare and chain.send_rest(str(applied.row.pk), applied.spec, applied.run, now=clock.now())


def _rescue_span(applied: Applied, cause: str) -> Any:
    """Trace a rescue in the run's own trace, which is then kept when others are thinned out."""
    attributes = {conventions.SAGA_EXECUTION_ID: str(applied.row.pk), conventions.ERROR_TYPE: cause, conventions.KEEP: True}
    return tracing.span(f"rescue {applied.spec.saga_name}", attributes=attributes, traceparent=applied.row.traceparent or None)


def look_after_children(loaded: Loaded) -> None:
    """See whether a child has ended whose word was lost, or was never called off by a parent that has turned back."""
    for index, step in enumerate(loaded.run.steps):
        if step.lease_until is not None and loaded.spec.steps[index].do.kind == "saga":
            if loaded.run.cause is not None and not plan.is_undoing(step):
                _call_off(str(loaded.row.pk), index)
            handover.child_ended(str(loaded.row.pk), index)


def _call_off(execution_id: str, index: int) -> None:
    try:
        children.cancel(execution_id, index)
    except IntegrationError as exc:
        if exc.code is not ErrorCode.TRANSITION_ILLEGAL:  # it turns back already, or only goes forward
            raise


def _was_given_up(before: StepState, after: StepState) -> bool:
    return before.lease_until is not None and after.lease_until is None


def _put_aside(execution_id: str) -> None:
    try:
        with transaction.atomic():
            SagaExecution.objects.filter(pk=execution_id).update(next_wake_at=clock.moment(clock.now()) + POISON_PAUSE)
            crash_point("aside.before_commit", execution_id)
        crash_point("aside.after_commit", execution_id)
    except DatabaseError:
        log.exception("saga could not be put aside", extra={"execution_id": execution_id})


def resume_parked(limit: int = 50) -> int:
    """Send on the runs that were parked because nobody could begin their next step, where somebody can again.

    A renamed task that is back, a version that is deployed again: the operator who was asked need not act twice.
    """
    parked = SagaExecution.objects.filter(status=SagaStatus.NEEDS_OPERATOR.value, blocked_at__isnull=False)
    resumed = 0
    # Any of them: of the oldest alone, those that stay parked would keep the others from being looked at.
    for execution_id in parked.order_by("?").values_list("pk", flat=True)[:limit]:
        resumed += _resume(str(execution_id))
    return resumed


def _resume(execution_id: str) -> bool:
    seen = store.load(execution_id)
    if seen.run.status is not SagaStatus.NEEDS_OPERATOR or engine.hindrance(seen) is not None:
        return False
    with transaction.atomic():
        loaded = services.held(execution_id)
        if loaded.row.revision != seen.row.revision or reruns.stands_on(loaded.row) is not None:
            return False
        applied = store.dispatch(execution_id, _sent_on(loaded), loaded=loaded)
    aftermath.moved(applied)
    return chain.send_rest(execution_id, applied.spec, applied.run, now=clock.now())


def _sent_on(loaded: Loaded) -> events.Event:
    now, reason = clock.now(), f"no longer so: {loaded.run.blocked_reason}"
    if loaded.run.cause is not None:
        return events.Compensate(now=now, reason=reason)
    # Only an operator gives it more time.
    return events.Retry(now=now, reason=reason, deadline_at=loaded.run.deadline_at)


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
            applied = store.dispatch(execution_id, lost, loaded=loaded)
            aftermath.moved(applied)
            loaded = applied.loaded()
            break
    chain.send_rest(execution_id, loaded.spec, loaded.run, now=clock.now())
