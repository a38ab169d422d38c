"""What callers and operators ask of the sagas: start, status, cancel, retry, compensate, list."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.db import transaction

from hub.errors import ErrorCode, IntegrationError
from hub.json_values import check_json
from sagas import aftermath, catalog, chain, clock, entrance, events, plan, reruns, store
from sagas.accept import Request, accept, check_arguments
from sagas.models import SagaExecution
from sagas.spec import SagaSpec
from sagas.states import ACTIVE, DONE, RunState, SagaStatus, StepStatus

PAGE, LONGEST_PAGE = 100, 1_000
MAX_REASON_BYTES = 65_536
MAX_CHILDREN = 20
Operation = events.Retry | events.Compensate | events.Skip


def start(
    saga_name: str,
    context: dict[str, Any] | None = None,
    *,
    idempotency_key: str | None = None,
    timeout_sec: float | None = None,
    version: str | None = None,
    correlation_id: str | None = None,
    message_id: str | None = None,
) -> dict[str, Any]:
    """Accept a run of a known saga and send its first message; return ``{execution_id, status}``.

    The same `idempotency_key` gives the same run; without one, the same message does, so that a broker that delivers it
    twice starts one run. Errors, before anything is written: E11420, E11421 (unknown saga or
    version), E11427, E11901, E11411, E11462 (see `entrance`), E11902, E11905, E11906, E11461 (context), E11414 (timeout),
    E11306 (key), E11424 (key used with other input), E11435 and E11405 (see `preflight`).
    """
    if not isinstance(saga_name, str):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"saga_name must be a string, not {type(saga_name).__name__}")
    spec = catalog.find(saga_name, None if version is None else str(version))
    check_arguments(timeout_sec, correlation_id)
    key = f"message:{message_id}" if idempotency_key is None and message_id else idempotency_key
    asked = {"context": context, "key": idempotency_key, "found_by": key}
    entrance.admit(catalog.definition_of(spec), spec, **asked, timeout_sec=timeout_sec)
    request = Request(context=context, idempotency_key=key, timeout_sec=timeout_sec, correlation_id=correlation_id)
    row, is_new = accept(spec, request)
    if is_new:
        set_off(row)
    return {"execution_id": str(row.pk), "status": row.status}


def set_off(row: SagaExecution) -> None:
    """Send the first message of a new run; one that begins with a wait begins to wait."""
    loaded = store.load(row.pk)
    first = next((i for i, step in enumerate(loaded.run.steps) if step.status not in DONE), 0)
    if plan.is_wait(loaded.spec, first):
        loaded = store.dispatch(row.pk, events.Tick(now=clock.now()), loaded=loaded).loaded()
    chain.send_rest(str(row.pk), loaded.spec, loaded.run, now=clock.now())


def identifier(execution_id: Any) -> uuid.UUID:
    """Return the id as a UUID; E11908 when it is not one."""
    try:
        return uuid.UUID(str(execution_id))
    except ValueError:
        raise IntegrationError(ErrorCode.IDENTIFIER_MALFORMED, f"execution_id {ascii(execution_id)[:80]} is not a UUID") from None


def status(execution_id: str) -> dict[str, Any]:
    """Return a run as plain data: status, cause, error, context, times, its steps, and the runs above and below it."""
    loaded = store.load(identifier(execution_id))
    row = loaded.row
    return {
        "execution_id": str(row.pk),
        "saga_name": row.saga_name,
        "version": row.definition.version,
        "status": row.status,
        "cause": row.cause or None,
        "error": row.error,
        "context": row.context,
        "blocked": row.blocked_reason or None,
        "parent": str(row.parent_id) if row.parent_id else None,
        "children": _children(loaded),
        "rerun_of": str(row.rerun_of_id) if row.rerun_of_id else None,
        "trace_id": row.trace_id or None,
        "correlation_id": row.correlation_id,
        "created_at": row.created_at.isoformat(),
        "deadline_at": row.deadline_at.isoformat(),
        "finished_at": row.finished_at.isoformat() if row.finished_at else None,
        "steps": _steps(loaded.spec, loaded.run),
    }


def _children(loaded: store.Loaded) -> list[dict[str, Any]]:
    """Return the runs that its steps started, the newest first."""
    if not any(step.do.kind == "saga" for step in loaded.spec.steps):
        return []
    rows = SagaExecution.objects.filter(parent=loaded.row.pk).order_by("-created_at").only("id", "saga_name", "status", "parent_step")
    return [
        {
            "execution_id": str(row.pk),
            "saga_name": row.saga_name,
            "status": row.status,
            "step_id": loaded.spec.steps[row.parent_step or 0].step_id,
        }
        for row in rows[:MAX_CHILDREN]
    ]


def _steps(spec: SagaSpec, run: RunState) -> list[dict[str, Any]]:
    return [
        {
            "step_id": step.step_id,
            "step_name": step.step_name,
            "status": state.status.value,
            "attempts": state.attempts,
            "undo_attempts": state.undo_attempts,
            "output": state.output,
            "error": state.error,
            "undo_error": state.undo_error,
        }
        for step, state in zip(spec.steps, run.steps, strict=True)
    ]


def cancel(execution_id: str, *, reason: str = "", actor: str = "") -> dict[str, Any]:
    """Turn a run back: no step starts any more, the running one ends or times out, then all is undone (S19).

    Errors: E11423, E11908, E11425 when it is final already, E11905 for a reason that no database keeps.
    """
    if reason:
        _check_reason(reason)
    return ask(execution_id, events.Cancel(now=clock.now(), reason=reason or "no reason given"), actor)


def retry(execution_id: str, *, reason: str, actor: str = "") -> dict[str, Any]:
    """Send a failed or parked run on: forward from the step that failed, or through the undos that failed.

    The run gets its definition's time again. Errors: E11423, E11908, E11425, E11901 without a reason, E11429 when its
    functions were those of a process that is gone.
    """
    return _operate(execution_id, lambda spec, now: events.Retry(now=now, reason=reason, deadline_at=now + spec.timeout_sec), actor)


def compensate(execution_id: str, *, reason: str, actor: str = "") -> dict[str, Any]:
    """Undo a failed or parked run now. Errors as for `retry`."""
    return _operate(execution_id, lambda _, now: events.Compensate(now=now, reason=reason), actor)


def skip(execution_id: str, step_id: str, *, reason: str, actor: str = "") -> dict[str, Any]:
    """Go on without a step, or without an undo, that was dealt with by hand. Errors as for `retry`, E11412 for the step."""

    def skipped(spec: SagaSpec, now: float) -> events.Skip:
        return events.Skip(step=_index(spec, step_id), now=now, reason=reason, deadline_at=now + spec.timeout_sec)

    return _operate(execution_id, skipped, actor)


def resolve(execution_id: str, outcome: str, *, reason: str, actor: str = "") -> dict[str, Any]:
    """End a failed or parked run as ``completed`` or ``compensated``: what it left was put right by hand."""
    _check_reason(reason)
    if outcome not in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"outcome {ascii(outcome)[:80]} must be completed or compensated")
    return ask(execution_id, events.Resolve(now=clock.now(), reason=reason, outcome=SagaStatus(outcome)), actor)


def rerun(execution_id: str, from_step: str, *, reason: str, changes: dict[str, Any] | None = None, actor: str = "") -> dict[str, Any]:
    """Run an ended saga again from a step, with its context of that time and `changes`, as a new run.

    What stands before the step must still stand: steps that completed and were not undone. Errors: E11901 without a
    reason, E11412 unknown step, E11425 while it, or a rerun of it, runs or when an earlier step does not stand.
    """
    _check_reason(reason)
    if not isinstance(changes, dict | None):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"changes must be an object, not {type(changes).__name__}")
    with transaction.atomic():
        loaded = held(execution_id)
        index = _index(loaded.spec, from_step)
        _check_stands(loaded, index)
        reruns.check_none_is_open(loaded.row)
        context = plan.context(loaded.spec, loaded.run, before=index) | (changes or {})
        request = Request(context=context, rerun_of=loaded.row, from_step=index, correlation_id=loaded.row.correlation_id)
        row, _ = accept(loaded.spec, request)
        store.note(row.pk, f"rerun of {execution_id} from {from_step}: {reason}", actor)
    set_off(row)
    return {"execution_id": str(row.pk), "status": row.status}


def _check_stands(loaded: store.Loaded, index: int) -> None:
    if loaded.run.status in ACTIVE or not all(step.status in DONE for step in loaded.run.steps[:index]):
        raise IntegrationError(
            ErrorCode.TRANSITION_ILLEGAL,
            f"saga {loaded.row.pk} is {loaded.run.status}; before {loaded.spec.steps[index].step_id!r} not every step stands",
            recovery_suggestion="rerun from an earlier step",
        )


def undo_plan(execution_id: str) -> list[dict[str, Any]]:
    """Say what cancelling or compensating now would do: the undos in order, how sure the hub is of each effect, and what would be called.

    Errors: E11423, E11908, E11425 for a run that nobody can turn back any more.
    """
    loaded = store.load(identifier(execution_id))
    _check_turns_back(loaded)
    return [
        {
            "step_id": loaded.spec.steps[i].step_id,
            "certainty": "happened" if loaded.run.steps[i].status is StepStatus.COMPLETED else "may have happened",
            "ends_first": loaded.run.steps[i].lease_until is not None,
            "call": f"{undo.kind} {undo.where} {undo.target}".replace("  ", " "),
        }
        for i in plan.would_undo(loaded.spec, loaded.run)
        if (undo := loaded.spec.steps[i].undo)
    ]


def _check_turns_back(loaded: store.Loaded) -> None:
    if plan.is_past_pivot(loaded.spec, loaded.run):
        raise IntegrationError(ErrorCode.TRANSITION_ILLEGAL, "a saga past its pivot only goes forward: nothing of it is undone")
    if loaded.run.status is SagaStatus.COMPLETED and loaded.row.parent_id is None:
        raise IntegrationError(
            ErrorCode.TRANSITION_ILLEGAL, "a saga that completed is turned back by nobody", recovery_suggestion="undo its effects by hand"
        )


def _index(spec: SagaSpec, step_id: str) -> int:
    for index, step in enumerate(spec.steps):
        if step.step_id == step_id:
            return index
    known = ", ".join(step.step_id for step in spec.steps)
    raise IntegrationError(ErrorCode.STEP_REFERENCE_UNKNOWN, f"no step {ascii(step_id)[:80]} in {spec.saga_name} (it has: {known})")


def _check_reason(reason: str) -> None:
    if not isinstance(reason, str) or not reason.strip():
        raise IntegrationError(ErrorCode.ARGUMENT_MISSING, "a reason is required", recovery_suggestion="say why, for the history")
    check_json(reason, what="reason", max_bytes=MAX_REASON_BYTES)


def _operate(execution_id: str, event_of: Callable[[SagaSpec, float], Operation], actor: str) -> dict[str, Any]:
    with transaction.atomic():
        loaded = held(execution_id)
        event = event_of(loaded.spec, clock.now())
        _check_reason(event.reason)
        _check_operable(loaded)
        applied = store.dispatch(loaded.row.pk, event, actor=actor, loaded=loaded)
    return _follow(applied)


def held(execution_id: uuid.UUID | str) -> store.Loaded:
    """Return a run that stays as it is until this transaction ends: of a rerun and an undo at one time, one comes first."""
    pk = identifier(execution_id)
    SagaExecution.objects.select_for_update(no_key=True).filter(pk=pk).values_list("pk").first()
    return store.load(pk)


def _check_operable(loaded: store.Loaded) -> None:
    row = loaded.row
    if loaded.spec.needs_its_caller:
        raise IntegrationError(
            ErrorCode.LOCAL_CALLER_GONE,
            f"saga {row.pk} was driven by a process with its own functions; no worker has them",
            recovery_suggestion="put right by hand what its steps left, and define the saga in a module of HUB_SAGA_MODULES",
        )
    reruns.check_not_run_again(row)


def ask(execution_id: str, event: events.Event, actor: str = "", loaded: store.Loaded | None = None) -> dict[str, Any]:
    """Let something happen to a run and send on what follows; return ``{execution_id, status}``. Errors: E11423, E11908, E11425, E11426."""
    return _follow(store.dispatch(identifier(execution_id), event, actor=actor, loaded=loaded))


def _follow(applied: store.Applied) -> dict[str, Any]:
    if not applied.ignored:
        aftermath.moved(applied)
        chain.send_rest(str(applied.row.pk), applied.spec, applied.run, now=clock.now())
    return {"execution_id": str(applied.row.pk), "status": applied.run.status.value}


def executions(*, status: SagaStatus | str | None = None, saga_name: str | None = None, limit: int = PAGE) -> list[dict[str, Any]]:
    """Return the newest runs, at most 1,000, each as ``{execution_id, saga_name, status, cause, created_at}``.

    Errors: E11902 for a status that there is not.
    """
    if status and status not in list(SagaStatus):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"no status {str(status)[:40]!r} (there are: {', '.join(SagaStatus)})")
    rows = SagaExecution.objects.all()
    if status:
        rows = rows.filter(status=str(status))
    if saga_name:
        rows = rows.filter(saga_name=saga_name)
    names = ("id", "saga_name", "status", "cause", "created_at")
    found = rows.order_by("-created_at").values(*names)[: min(limit, LONGEST_PAGE)]
    return [{"execution_id": str(row.pop("id")), **row, "created_at": row["created_at"].isoformat()} for row in found]
