"""Why is this saga stuck? Read its rows, its queue, its breaker; the rules say the rest."""

from __future__ import annotations

from datetime import datetime

import redis
from django.conf import settings

from hub.celery import SAGAS
from hub.circuits import breaker
from hub.diagnosis import queues
from hub.diagnosis.facts import CircuitFacts, SagaFacts, StepFacts
from hub.diagnosis.rules import Why, why_saga
from hub.errors import ErrorCode
from hub.telemetry.redaction import Redactor
from hub.telemetry.secrets import known_secrets
from sagas import children, clock, listening, plan, reruns, store
from sagas.models import SagaTransition
from sagas.spec import Call
from sagas.states import FINAL, Direction, SagaStatus, StepState, StepStatus
from sagas.store import Loaded


def why(loaded: Loaded) -> Why:
    """Return why a run stands where it stands, in words without secrets."""
    return why_saga(facts_of(loaded))


def facts_of(loaded: Loaded) -> SagaFacts:
    """Read what the rules want to know of a run."""
    row, run, redactor = loaded.row, loaded.run, Redactor(known_secrets())
    undo_failed, error = _standing_in_the_way(loaded)
    return SagaFacts(
        now=clock.now(),
        status=run.status.value,
        is_final=run.status in FINAL,
        since=_since(loaded).timestamp(),
        error=redactor.text(_words(error)),
        undo_failed=undo_failed,
        step=_step(loaded, redactor),
        blocked_at=_blocked_at(loaded),
        blocked_reason=redactor.text(run.blocked_reason),
        patience_sec=_patience(run.blocked_reason),
        next_wake_at=clock.to_seconds(row.next_wake_at),
        deadline_at=run.deadline_at if plan.heeds_deadline(loaded.spec, run) else None,
        owner_until=run.owner_until,
        messages=queues.facts_of(SAGAS),
        sweep_sec=settings.HUB.saga_sweep_sec,
    )


def _since(loaded: Loaded) -> datetime:
    newest = SagaTransition.objects.filter(execution=loaded.row.pk).exclude(old="").order_by("-id").values_list("at", flat=True).first()
    return newest or loaded.row.created_at


def _standing_in_the_way(loaded: Loaded) -> tuple[str, object]:
    """Return the undo that was given up and its error, before the error that made the saga turn back."""
    run = loaded.run
    if run.status is SagaStatus.NEEDS_OPERATOR:
        for step, state in zip(loaded.spec.steps, run.steps, strict=True):
            if state.status is StepStatus.COMPENSATION_FAILED and state.undo_error:
                return step.step_id, state.undo_error
    return "", run.error


def _blocked_at(loaded: Loaded) -> float | None:
    """Return since when nobody can begin it; None for a parked run that is not sent on when somebody can."""
    is_parked = loaded.run.status is SagaStatus.NEEDS_OPERATOR
    stays = is_parked and (loaded.spec.needs_its_caller or reruns.stands_on(loaded.row) is not None)
    return None if stays else loaded.run.blocked_at


def _words(error: object) -> str:
    return f"{error.get('code', '')} {error.get('message', '')}".strip() if isinstance(error, dict) else ""


_OF_A_WORKER = tuple(
    code.value for code in (ErrorCode.PINNED_VERSION_MISSING, ErrorCode.DEFINITION_NOT_FOUND, ErrorCode.SAGA_SECRETS_UNREADABLE)
)
"""What another worker may have that the one that was asked lacks."""


def _patience(reason: str) -> float | None:
    """Return for how long a run may be blocked so before an operator is asked (`sagas.engine.block`)."""
    hub = settings.HUB
    if reason.startswith(_OF_A_WORKER):
        return hub.saga_version_wait_sec
    if reason.startswith(ErrorCode.TASK_UNKNOWN.value):
        return hub.saga_orphan_sec if "no live worker" in reason else 2 * hub.saga_sweep_sec
    return None


def _step(loaded: Loaded, redactor: Redactor) -> StepFacts | None:
    """Return the step that decides what happens next: one that runs, else the one whose turn it is."""
    run, spec = loaded.run, loaded.spec
    index = _index(loaded)
    if index is None:
        return None
    state = run.steps[index]
    undoing = state.status is StepStatus.COMPENSATING or (run.cause is not None and state.lease_until is None)
    step = spec.steps[index]
    call = step.call(Direction.UNDO if undoing else Direction.DO)
    policy, error = (step.undo_retry, state.undo_error) if undoing else (step.retry, state.error)
    return StepFacts(
        step_id=step.step_id,
        kind=call.kind if call else "",
        call=f"{call.kind} {call.where} {call.target}".replace("  ", " ") if call else "",
        undoing=undoing,
        tries=state.undo_attempts if undoing else state.attempts,
        most_tries=policy.max_retries + 1,
        lease_until=state.lease_until,
        due_at=state.due_at,
        waiting_for=state.waiting_for,
        deaf=_deaf(state.waiting_for),
        error=redactor.text(_words(error)),
        held=redactor.text(_held(loaded, step.step_id)),
        queue=queues.facts_of(call.where) if call and call.kind == "task" else None,
        circuit=_circuit(call),
        child=_child(loaded, index, state, call),
    )


def _held(loaded: Loaded, step_id: str) -> str:
    """Return why a step was put back, if that is the last that happened to it."""
    moves = SagaTransition.objects.filter(execution=loaded.row.pk, step_id=step_id).order_by("-id")
    new, reason = moves.values_list("new", "reason").first() or ("", "")
    return reason if new == StepStatus.WAITING else ""


def _index(loaded: Loaded) -> int | None:
    run, spec = loaded.run, loaded.spec
    leased = [i for i, step in enumerate(run.steps) if step.lease_until is not None]
    owed = plan.to_undo(spec, run) if run.cause else ()
    ahead = [i for i, step in enumerate(run.steps) if step.status in (StepStatus.WAITING, StepStatus.PENDING)]
    return next(iter([*leased, *(owed or ahead)]), None)


def _deaf(waiting_for: str) -> str:
    kind, _, topic = waiting_for.partition(":")
    return listening.why_deaf(topic) if kind == "event" else ""


def _circuit(call: Call | None) -> CircuitFacts | None:
    if call is None or call.kind != "http":
        return None
    try:
        seen = breaker.look(call.where)
    except redis.RedisError:
        return None
    if seen.admits_all:
        return None
    return CircuitFacts(service=call.where, state=str(seen.state), until=seen.refused_until_ms / 1000, why=seen.manual_why or seen.why)


def _child(loaded: Loaded, index: int, state: StepState, call: Call | None) -> str:
    if call is None or call.kind != "saga" or state.lease_until is None:
        return ""
    child = children.latest(loaded.row, index)
    return f"{child.pk}, which is {child.status.replace('_', ' ')}" if child else ""


def why_saga_of(execution_id: str) -> Why:
    """Return why a run stands where it stands; E11423 when there is none."""
    return why(store.load(execution_id))
