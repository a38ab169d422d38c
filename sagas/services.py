"""What callers and operators ask of the sagas: start, status, cancel, retry, compensate, list, prune."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError

from hub.errors import ErrorCode, IntegrationError
from hub.json_values import check_json
from hub.routing.context import RequestContext
from hub.telemetry import metrics, tracing
from sagas import catalog, chain, clock, engine, events, machine, store
from sagas.models import SagaExecution, SagaVersion
from sagas.spec import SagaSpec
from sagas.states import FINAL, RunState, SagaStatus

MAX_KEY = 128
PAGE = 100
_FINAL = [status.value for status in FINAL]


def start(
    saga_name: str,
    context: dict[str, Any] | None = None,
    *,
    idempotency_key: str | None = None,
    timeout_sec: float | None = None,
    version: str | None = None,
    correlation_id: str | None = None,
) -> dict[str, Any]:
    """Accept a run of a known saga and send its first message; return ``{execution_id, status}``.

    The same `idempotency_key` gives the same run. Errors, before anything is written: E11420, E11421 (unknown saga or
    version), E11902, E11905, E11906, E11461 (context), E11414 (timeout), E11306 (key), E11424 (key used with other input).
    """
    if not isinstance(saga_name, str):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"saga_name must be a string, not {type(saga_name).__name__}")
    spec = catalog.find(saga_name, None if version is None else str(version))
    row, is_new = accept(
        spec, context, idempotency_key=idempotency_key, timeout_sec=timeout_sec, correlation_id=correlation_id, owner_sec=None
    )
    if is_new:
        loaded = store.load(row.pk)
        chain.send_rest(str(row.pk), loaded.spec, loaded.run, now=clock.now())
    return {"execution_id": str(row.pk), "status": row.status}


def accept(
    spec: SagaSpec,
    context: dict[str, Any] | None,
    *,
    idempotency_key: str | None,
    timeout_sec: float | None,
    correlation_id: str | None,
    owner_sec: float | None,
) -> tuple[SagaExecution, bool]:
    """Store a run, or find the one that was stored under the key; return it and whether it is new."""
    context = {} if context is None else context
    request_hash = _check_request(context, idempotency_key, timeout_sec)
    found = _by_key(spec, idempotency_key, request_hash)
    if found:
        return found, False
    with tracing.span(f"saga {spec.saga_name}", kind="producer", attributes={"hub.saga.name": spec.saga_name}):
        now = clock.now()
        owner_until = None if owner_sec is None else now + owner_sec
        run = machine.start(spec, input=context, now=now, timeout_sec=timeout_sec or spec.timeout_sec, owner_until=owner_until)
        columns = {"idempotency_key": idempotency_key, "request_hash": request_hash, **_trace(correlation_id)}
        try:
            row = store.create(spec, run, now=now, **columns)
        except IntegrityError:
            found = _by_key(spec, idempotency_key, request_hash)
            if found is None:
                raise
            return found, False
    metrics.increment("hub_sagas_started_total", saga=spec.saga_name)
    return row, True


def _trace(correlation_id: str | None) -> dict[str, str]:
    known = correlation_id or tracing.correlation_id() or RequestContext.create().correlation_id
    return {"traceparent": tracing.traceparent() or "", "trace_id": tracing.trace_id() or "", "correlation_id": known[:128]}


def _check_request(context: Any, key: Any, timeout_sec: Any) -> str:
    if not isinstance(context, dict):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"context must be an object, not {type(context).__name__}")
    check_json(context, what="context", max_bytes=settings.HUB.saga_max_context_bytes, too_large=ErrorCode.SAGA_CONTEXT_TOO_LARGE)
    if key is not None and (not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY or not key.isprintable()):
        raise IntegrationError(ErrorCode.IDEMPOTENCY_KEY_INVALID, f"idempotency_key {ascii(key)[:80]} must have 1 to {MAX_KEY} characters")
    if timeout_sec is not None and (
        isinstance(timeout_sec, bool) or not isinstance(timeout_sec, int | float) or not 0 < timeout_sec <= 2_592_000
    ):
        raise IntegrationError(ErrorCode.SAGA_TIMEOUT_INVALID, f"timeout_sec {ascii(timeout_sec)[:80]} must be above 0, at most 30 days")
    return hashlib.sha256(json.dumps([context, timeout_sec], sort_keys=True).encode()).hexdigest()


def _by_key(spec: SagaSpec, key: str | None, request_hash: str) -> SagaExecution | None:
    if key is None:
        return None
    row = SagaExecution.objects.filter(saga_name=spec.saga_name, idempotency_key=key).first()
    if row is not None and row.request_hash != request_hash:
        raise IntegrationError(
            ErrorCode.SAGA_KEY_REUSED,
            f"idempotency_key {key!r} was used for saga {spec.saga_name!r} with another context or timeout",
            recovery_suggestion="use a new key for a new run",
        )
    return row


def identifier(execution_id: Any) -> uuid.UUID:
    """Return the id as a UUID; E11908 when it is not one."""
    try:
        return uuid.UUID(str(execution_id))
    except ValueError:
        raise IntegrationError(ErrorCode.IDENTIFIER_MALFORMED, f"execution_id {ascii(execution_id)[:80]} is not a UUID") from None


def status(execution_id: str) -> dict[str, Any]:
    """Return a run as plain data: status, cause, error, context, times and its steps."""
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
        "trace_id": row.trace_id or None,
        "correlation_id": row.correlation_id,
        "created_at": row.created_at.isoformat(),
        "deadline_at": row.deadline_at.isoformat(),
        "finished_at": row.finished_at.isoformat() if row.finished_at else None,
        "steps": _steps(loaded.spec, loaded.run),
    }


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

    Errors: E11423, E11908, E11425 when it is final already.
    """
    return _ask(execution_id, events.Cancel(now=clock.now(), reason=reason or "no reason given"), actor)


def retry(execution_id: str, *, reason: str, actor: str = "") -> dict[str, Any]:
    """Send a failed or parked run on: forward from the step that failed, or through the undos that failed.

    The run gets its definition's time again. Errors: E11423, E11908, E11425, E11901 without a reason, E11429 when its
    functions were those of a process that is gone.
    """
    loaded = store.load(identifier(execution_id))
    _check_operable(loaded.spec, loaded.row, reason)
    now = clock.now()
    return _ask(execution_id, events.Retry(now=now, reason=reason, deadline_at=now + loaded.spec.timeout_sec), actor)


def compensate(execution_id: str, *, reason: str, actor: str = "") -> dict[str, Any]:
    """Undo a failed or parked run now. Errors as for `retry`."""
    loaded = store.load(identifier(execution_id))
    _check_operable(loaded.spec, loaded.row, reason)
    return _ask(execution_id, events.Compensate(now=clock.now(), reason=reason), actor)


def _check_operable(spec: SagaSpec, row: SagaExecution, reason: str) -> None:
    if not reason.strip():
        raise IntegrationError(ErrorCode.ARGUMENT_MISSING, "a reason is required", recovery_suggestion="say why, for the history")
    if any(call and call.kind == "local" for step in spec.steps for call in (step.do, step.undo)):
        raise IntegrationError(
            ErrorCode.LOCAL_CALLER_GONE,
            f"saga {row.pk} was driven by a process with its own functions; no worker has them",
            recovery_suggestion="put right by hand what its steps left, and define the saga in a module of HUB_SAGA_MODULES",
        )


def _ask(execution_id: str, event: events.Event, actor: str) -> dict[str, Any]:
    applied = store.dispatch(identifier(execution_id), event, actor=actor)
    engine.count_final(applied.spec, applied.before, applied.run)
    chain.send_rest(str(applied.row.pk), applied.spec, applied.run, now=clock.now())
    return {"execution_id": str(applied.row.pk), "status": applied.run.status.value}


def executions(*, status: SagaStatus | str | None = None, saga_name: str | None = None, limit: int = PAGE) -> list[dict[str, Any]]:
    """Return the newest runs, at most 100, each as ``{execution_id, saga_name, status, cause, created_at}``."""
    rows = SagaExecution.objects.all()
    if status:
        rows = rows.filter(status=str(status))
    if saga_name:
        rows = rows.filter(saga_name=saga_name)
    names = ("id", "saga_name", "status", "cause", "created_at")
    found = rows.order_by("-created_at").values(*names)[: min(limit, PAGE)]
    return [{"execution_id": str(row.pop("id")), **row, "created_at": row["created_at"].isoformat()} for row in found]


def prune(batch: int = 500) -> int:
    """Delete runs that ended longer ago than the retention, a batch at a time so that no writer waits long."""
    oldest = clock.moment(clock.now()) - timedelta(days=settings.HUB.saga_retention_days)
    ended = SagaExecution.objects.filter(finished_at__lt=oldest, status__in=_FINAL).exclude(status=SagaStatus.NEEDS_OPERATOR.value)
    deleted = 0
    while ids := list(ended.order_by("finished_at").values_list("pk", flat=True)[:batch]):
        deleted += SagaExecution.objects.filter(pk__in=ids).delete()[1].get("sagas.SagaExecution", 0)
    SagaVersion.objects.filter(executions__isnull=True).delete()
    return deleted
