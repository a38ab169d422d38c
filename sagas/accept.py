"""Accept a run: check the request, store it with its steps in one commit, once per idempotency key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import IntegrityError

from hub.errors import ErrorCode, IntegrationError
from hub.json_values import check_json, storable
from hub.routing.context import RequestContext
from hub.telemetry import context as w3c
from hub.telemetry import conventions, tracing
from hub.telemetry.secrets import hides_key, redactor
from sagas import clock, listening, locks, machine, store, versions
from sagas.models import SagaExecution
from sagas.spec import SagaSpec
from sagas.states import RunState

MAX_KEY = 128
MAX_TIMEOUT_SEC = 30 * 24 * 3600
STORE_TRIES = 3
"""An insert that fails though no other run was first: pruning took the version's snapshot away just before it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a caller asks for. `owner_sec`: the caller drives the run itself and beats at least that often.

    `parent_epoch`: the attempt of the parent's step that asks for this child.
    """

    context: Any = field(default_factory=dict)
    idempotency_key: Any = None
    timeout_sec: Any = None
    correlation_id: str | None = None
    owner_sec: float | None = None
    parent: SagaExecution | None = None
    parent_step: int | None = None
    parent_epoch: int | None = None
    rerun_of: SagaExecution | None = None
    from_step: int = 0


def accept(spec: SagaSpec, request: Request) -> tuple[SagaExecution, bool]:
    """Store a run, or find the one stored under the key; return it and whether it is new.

    Errors, before anything is written: E11902, E11905, E11906, E11461 (context), E11306 (key), E11414 (timeout),
    E11424 (key used with another request), E11412 and E11434 (locks), E11490 (a child that its parent wants no more).
    """
    context = {} if request.context is None else request.context
    request_hash = _check(context, request)
    found = _by_key(spec, request.idempotency_key, request_hash)
    if found:
        return found, False
    lock_names = locks.names(spec.locks, context)
    listening.listen_for(spec)
    if spec.on_lock == "refuse":
        locks.refuse_if_held(lock_names, request.parent)
    for _ in range(STORE_TRIES):
        row = _store(spec, context, request, {"request_hash": request_hash, "lock_names": lock_names})
        if row is not None:
            return row, True
        winner = _winner(spec, request, request_hash, lock_names)
        if winner is not None:
            return winner, False
    raise IntegrationError(ErrorCode.CONFLICT, f"saga {spec.saga_name!r} could not be stored", recovery_suggestion="send it again")


def _store(spec: SagaSpec, context: Mapping[str, Any], request: Request, columns: dict[str, Any]) -> SagaExecution | None:
    """Insert the run; None when another one with its key, or with its locks, was first."""
    now = clock.now()
    owner_until = None if request.owner_sec is None else now + request.owner_sec
    timeout_sec = request.timeout_sec or spec.timeout_sec
    run: RunState = machine.start(
        spec, input=dict(context), now=now, timeout_sec=timeout_sec, owner_until=owner_until, from_step=request.from_step
    )
    name, attributes = f"saga {spec.saga_name}", {conventions.SAGA_NAME: spec.saga_name}
    # The span that stands for the saga ends before the row is written, and goes with it in one commit.
    with tracing.collected() as spans, tracing.span(name, kind="producer", attributes=attributes):
        trace = _trace(request)
    columns |= {"idempotency_key": request.idempotency_key, **trace, **_family(request)}
    try:
        return store.create(spec, run, now=now, spans=spans, parent_epoch=request.parent_epoch, **columns)
    except IntegrityError:
        versions.forget()
        return None


def _winner(spec: SagaSpec, request: Request, request_hash: str, lock_names: list[str]) -> SagaExecution | None:
    """Return the run that was first with this key, if that is why the insert failed; refuse where another has the locks."""
    found = _by_key(spec, request.idempotency_key, request_hash)
    if found is None and spec.on_lock == "refuse":
        locks.refuse_if_held(lock_names, request.parent)
    return found


def _trace(request: Request) -> dict[str, str]:
    known = redactor().text(request.correlation_id or tracing.correlation_id() or "")[:128]
    return {
        "traceparent": tracing.traceparent() or "",
        "trace_id": tracing.trace_id() or "",
        # Under a malformed one its steps could publish nothing, and what they ask would be asked under another.
        "correlation_id": known if w3c.is_correlation_id(known) else RequestContext.create().correlation_id,
    }


def _family(request: Request) -> dict[str, Any]:
    if request.parent is None:
        return {"rerun_of": request.rerun_of}
    return {"parent": request.parent, "parent_step": request.parent_step, "depth": request.parent.depth + 1}


def check_arguments(timeout_sec: Any, correlation_id: Any) -> None:
    """Refuse a time limit that is none (E11414) and a correlation id that is no text (E11107); None stands for the default."""
    if timeout_sec is not None and not _is_timeout(timeout_sec):
        raise IntegrationError(ErrorCode.SAGA_TIMEOUT_INVALID, f"timeout_sec {ascii(timeout_sec)[:80]} must be above 0, at most 30 days")
    if not isinstance(correlation_id, str | None):
        raise IntegrationError(ErrorCode.CORRELATION_INVALID, f"correlation id {ascii(correlation_id)[:80]} must be a text")


def _check(context: Any, request: Request) -> str:
    key, timeout_sec = request.idempotency_key, request.timeout_sec
    if not isinstance(context, dict):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"context must be an object, not {type(context).__name__}")
    check_json(context, what="context", max_bytes=settings.HUB.saga_max_context_bytes, too_large=ErrorCode.SAGA_CONTEXT_TOO_LARGE)
    if key is not None and (not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY or not key.isprintable()):
        raise IntegrationError(ErrorCode.IDEMPOTENCY_KEY_INVALID, f"idempotency_key {ascii(key)[:80]} must have 1 to {MAX_KEY} characters")
    if key is not None and hides_key(key):
        raise IntegrationError(ErrorCode.IDEMPOTENCY_KEY_INVALID, "idempotency_key looks like a secret; keys are kept and shown")
    check_arguments(timeout_sec, request.correlation_id)
    known_timeout = None if request.parent else timeout_sec  # a child's is what its parent has left, not part of the request
    return hashlib.sha256(json.dumps([context, known_timeout], sort_keys=True).encode()).hexdigest()


def _is_timeout(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MAX_TIMEOUT_SEC


def is_known(spec: SagaSpec, key: str) -> bool:
    """Tell whether a run of this saga was stored under the key."""
    return SagaExecution.objects.filter(saga_name=spec.saga_name, idempotency_key=storable(key)).exists()


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
