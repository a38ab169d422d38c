"""Sagas as steps of a saga (S23): a failing child undoes itself, a completed one is undone as a whole by its parent."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import transaction

from hub.errors import ErrorCode, IntegrationError
from sagas import accept, aftermath, calls, catalog, chain, clock, engine, events, plan, reruns, services, store
from sagas.calls import Ended
from sagas.claimed import Attempt
from sagas.models import SagaExecution, SagaTransition
from sagas.states import ACTIVE, Direction, SagaStatus
from sagas.store import Loaded

MAX_DEPTH = 5


def ask(attempt: Attempt) -> Ended | None:
    """Start the child, or ask it to undo itself; None when its end is to be waited for."""
    return _start(attempt) if attempt.direction is Direction.DO else _undo(attempt)


def _start(attempt: Attempt) -> Ended | None:
    parent, call = attempt.applied.row, attempt.applied.spec.steps[attempt.index].do
    child = latest(parent, attempt.index)
    is_idle = child is None or child.status in (SagaStatus.COMPENSATED.value, SagaStatus.FAILED.value)
    if is_idle and _is_given_up(attempt):
        return None  # others count this process as dead, so it must not set a child going that nobody would wait for
    try:
        if child is None or child.status == SagaStatus.COMPENSATED.value:
            child = _accept(attempt, call.target, count=_count(parent, attempt.index))
        elif is_idle:
            _send_on(child, limit_sec=attempt.limit_sec)
    except IntegrationError as exc:
        return Ended(outcome="failed", error=calls.as_error(exc.code, exc.message), retryable=exc.is_recoverable)
    loaded = store.load(child.pk)
    chain.send_rest(str(child.pk), loaded.spec, loaded.run, now=clock.now())
    return _forward(loaded, is_wanted=True)


def _is_given_up(attempt: Attempt) -> bool:
    now = store.load(attempt.execution_id).run.steps[attempt.index]
    return now.epoch != attempt.epoch or now.lease_until is None


def _accept(attempt: Attempt, saga_name: str, *, count: int) -> SagaExecution:
    parent, given = attempt.applied.row, engine.payload(attempt)
    if parent.depth + 1 > MAX_DEPTH:
        raise IntegrationError(ErrorCode.SAGA_NESTING_TOO_DEEP, f"sagas are nested {MAX_DEPTH} deep at most")
    # One child for one try: an operator who sends the parent on after the child was undone gets a new one.
    key = given.idempotency_key + (f":{count}" if count else "")
    request = accept.Request(
        context=dict(given.context),
        idempotency_key=key,
        timeout_sec=attempt.limit_sec,
        correlation_id=parent.correlation_id,
        parent=parent,
        parent_step=attempt.index,
        parent_epoch=attempt.epoch,
    )
    return accept.accept(catalog.find(saga_name), request)[0]


def _send_on(child: SagaExecution, *, limit_sec: float) -> None:
    """Let a child go on that failed and undid nothing: a new one would do beside it what stands already."""
    with transaction.atomic():
        loaded = services.held(child.pk)
        if loaded.run.status is not SagaStatus.FAILED:
            return  # an operator was first
        reruns.check_not_run_again(loaded.row)
        now = clock.now()
        store.dispatch(child.pk, events.Retry(now=now, reason="its parent was sent on", deadline_at=now + limit_sec), loaded=loaded)


def latest(parent: SagaExecution, index: int) -> SagaExecution | None:
    return SagaExecution.objects.filter(parent=parent, parent_step=index).order_by("-created_at").first()


def _count(parent: SagaExecution, index: int) -> int:
    return SagaExecution.objects.filter(parent=parent, parent_step=index).count()


def _undo(attempt: Attempt) -> Ended | None:
    child = latest(attempt.applied.row, attempt.index)
    if child is None and attempt.applied.run.steps[attempt.index].served_by:
        return Ended(outcome="failed", error=calls.as_error(ErrorCode.COMPENSATION_FAILED, "the child's record is gone"), retryable=False)
    return Ended(outcome="ok") if child is None else _ask_to_turn_back(child)


def _ask_to_turn_back(child: SagaExecution) -> Ended | None:
    try:
        return _turn_back(store.load(child.pk))
    except IntegrationError as exc:
        if exc.code is not ErrorCode.TRANSITION_ILLEGAL:
            return Ended(outcome="failed", error=calls.as_error(exc.code, exc.message))
    # It moved between the look and the word, or it cannot be turned back at all: look once more.
    try:
        return _turn_back(store.load(child.pk))
    except IntegrationError as exc:
        return Ended(outcome="failed", error=calls.as_error(exc.code, exc.message), retryable=exc.code is not ErrorCode.TRANSITION_ILLEGAL)


def _turn_back(child: Loaded) -> Ended | None:
    """Tell a child to undo itself; return how that ended, or None while it goes on."""
    if child.run.status is not SagaStatus.COMPENSATED:
        _tell_to_undo(child.row.pk)
    return _backward(store.load(child.row.pk))


def _tell_to_undo(pk: uuid.UUID) -> None:
    with transaction.atomic():
        child = services.held(pk)
        reruns.check_not_run_again(child.row)
        if _is_parked_on_its_way_back(child):
            return  # it was told, and goes on by itself
        event: events.Event = events.Compensate(now=clock.now(), reason="undone by its parent", by_parent=True)
        if child.run.status in ACTIVE:
            event = events.Cancel(now=clock.now(), reason="its parent turned back")
        applied = store.dispatch(pk, event, loaded=child)
    aftermath.moved(applied)
    chain.send_rest(str(pk), applied.spec, applied.run, now=clock.now())


def look(parent: Loaded, index: int) -> Ended | None:
    """Return how the child of a step ended, or None while it goes on."""
    child = latest(parent.row, index)
    if child is None:
        return _lost_at_its_start(parent, index)
    loaded = store.load(child.pk)
    if not plan.is_undoing(parent.run.steps[index]):
        return _forward(loaded, is_wanted=parent.run.cause is None)
    # One that only ended forward was not told yet: whoever was to tell it has died, or is slow.
    return _ask_to_turn_back(child) if loaded.run.status in (SagaStatus.COMPLETED, SagaStatus.FAILED) else _backward(loaded)


def _lost_at_its_start(parent: Loaded, index: int) -> Ended | None:
    """Return that nobody started the child for so long that the process which was to do it must be dead.

    The step's own lease is the child's whole time, far too long to wait for that.
    """
    claims = SagaTransition.objects.filter(execution=parent.row.pk, step_id=parent.spec.steps[index].step_id, new="running")
    claimed_at = claims.order_by("-id").values_list("at", flat=True).first()
    if claimed_at is None or clock.now() - claimed_at.timestamp() < settings.HUB.saga_orphan_sec:
        return None
    return Ended(outcome="lost", error=calls.as_error(ErrorCode.STEP_OUTCOME_UNKNOWN, "the process that was to start the child died"))


def _forward(child: Loaded, *, is_wanted: bool) -> Ended | None:
    """Return how a child ended; a parent that has turned back does not wait for one that stands still."""
    status, error = child.run.status, _error(child)
    if status in ACTIVE or (is_wanted and _goes_on_by_itself(child)):
        return None
    if status is SagaStatus.COMPLETED:
        # Not its input: that is a copy of the parent's context as it was, older than what siblings have put there since.
        given_back = plan.outputs(child.spec, child.run)
        return calls.checked_output(given_back, settings.HUB.saga_max_context_bytes, served_by=str(child.row.pk))
    # A compensated child left nothing; any other that did not complete may have.
    return Ended(outcome="failed" if status is SagaStatus.COMPENSATED else "unknown", error=error, retryable=False)


def _backward(child: Loaded) -> Ended | None:
    if child.run.status in ACTIVE:
        return None
    if child.run.status is SagaStatus.COMPENSATED:
        return Ended(outcome="ok")
    if _is_parked_on_its_way_back(child):
        return Ended(outcome="held", error=_error(child), retry_after_sec=calls.MAX_HOLD_SEC)
    return Ended(outcome="unknown", error=_error(child), retryable=False)


def _goes_on_by_itself(child: Loaded) -> bool:
    """Tell whether a child was parked because nobody could begin its next step: it goes on as soon as somebody can."""
    return child.run.status is SagaStatus.NEEDS_OPERATOR and child.run.blocked_at is not None


def _is_parked_on_its_way_back(child: Loaded) -> bool:
    return _goes_on_by_itself(child) and child.run.cause is not None


def _error(child: Loaded) -> dict[str, Any]:
    why = child.run.blocked_reason or (child.run.error or {}).get("message", "")
    message = f"child saga {child.row.pk} is {child.run.status}: {why}"
    return calls.as_error(ErrorCode.STEP_FAILED, message, str(child.run.status))


def cancel(execution_id: str, index: int) -> None:
    """Call a child off, because its parent turned back while it ran.

    The word of it may come late or twice, when an operator has sent the parent on: then the child is that of a new try.
    """
    children = SagaExecution.objects.filter(parent=uuid.UUID(execution_id), parent_step=index).exclude(parent__cause="")
    child = children.order_by("-created_at").first()
    if child is None or SagaStatus(child.status) not in ACTIVE:
        return
    applied = store.dispatch(child.pk, events.Cancel(now=clock.now(), reason="its parent turned back"))
    aftermath.moved(applied)
    chain.send_rest(str(child.pk), applied.spec, applied.run, now=clock.now())
