"""Carry out one call of a step and say how it ended; nothing here reads or writes a saga's rows."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from django.conf import settings

from hub.errors import CircuitOpen, ErrorCode, IntegrationError, OutcomeUnknown, Refused, RequestFailed
from hub.json_values import check_json, storable
from hub.routing import services as routing
from hub.telemetry.secrets import redactor
from registry_app import ownership
from sagas.events import Answer, Outcome
from sagas.limits import StepTimedOut, time_limit
from sagas.spec import Call

log = logging.getLogger(__name__)

REFUSED_STATUSES = frozenset({409, 422})
TRANSIENT_STATUSES = frozenset({408, 425, 429})
DONE_ELSEWHERE_STATUSES = frozenset({302, 303})
"""A service may redirect so after it has acted: look there for what came of it (RFC 9110, 15.4.4)."""
AWAY = frozenset({ErrorCode.SERVICE_DISABLED, ErrorCode.NO_HEALTHY_INSTANCE})
"""Nobody is there to be asked, by an operator's word or by what the probes say: as behind an open circuit, no attempt is spent."""
DEFAULT_HOLD_SEC, MAX_HOLD_SEC = 5.0, 60.0
"""However long a breaker means to stay open: an operator may close it before, and what was held is to see that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Payload:
    """What a call is given. The keys are the same over all retries (S8)."""

    context: Mapping[str, Any]
    output: Any
    undo: bool
    idempotency_key: str
    undo_key: str
    execution_id: str
    saga_name: str
    step_id: str
    attempt: int
    prefer_service_id: str = ""

    def for_function(self) -> dict[str, Any]:
        """Return the context with ``_saga``: what a function or a layer's task may want to know of its call."""
        about = {
            "execution_id": self.execution_id,
            "saga_name": self.saga_name,
            "step_id": self.step_id,
            "attempt": self.attempt,
            "idempotency_key": self.idempotency_key,
            "undo_key": self.undo_key,
        }
        # A copy: what a function changes in it must not get into the run's own state.
        given: dict[str, Any] = deepcopy(dict(self.context))
        return {**given, "_saga": {**about, "output": deepcopy(self.output)} if self.undo else about}

    def for_service(self) -> dict[str, Any]:
        return {"context": dict(self.context), "output": self.output}

    def headers(self) -> dict[str, str]:
        named = {
            "Idempotency-Key": self.idempotency_key,
            "X-Hub-Saga": self.execution_id,
            "X-Hub-Step": self.step_id,
            "X-Hub-Kind": "compensation" if self.undo else "action",
            "X-Hub-Attempt": str(self.attempt),
        }
        # The action's key lets a service that honours it refuse an action that arrives after its undo (S6).
        return {**named, "X-Hub-Undo-Key": self.undo_key} if self.undo else named


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a call ended: `outcome` is ``ok``, ``held`` (not tried, wait `retry_after_sec`) or one of the machine's."""

    outcome: Outcome | Literal["ok", "held", "verified"]
    output: Any = None
    error: Mapping[str, Any] | None = None
    retryable: bool = True
    retry_after_sec: float | None = None
    served_by: str = ""
    answer: Answer = "unknown"


def run(call: Call, payload: Payload, *, limit_sec: float, max_output_bytes: int) -> Ended:
    """Run a function or an HTTP call for at most `limit_sec`; never raises for what the step did."""
    if call.kind == "http":
        return run_http(call, payload, limit_sec=limit_sec, max_output_bytes=max_output_bytes)
    return run_function(resolve(call.target), payload, limit_sec=limit_sec, max_output_bytes=max_output_bytes)


@lru_cache(maxsize=1000)
def resolve(target: str) -> Callable[..., Any]:
    """Return the function that ``package.module:function`` names; E11405 when it is not there."""
    module, _, name = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as exc:
        raise IntegrationError(ErrorCode.STEP_ACTION_INVALID, f"{target} cannot be imported: {exc}") from exc
    function: Callable[..., Any] = found
    return function


def run_function(function: Callable[..., Any], payload: Payload, *, limit_sec: float, max_output_bytes: int) -> Ended:
    try:
        with time_limit(limit_sec):
            output = function(payload.for_function())
            if inspect.isawaitable(output):
                output = asyncio.run(_await(output))
    except Exception as exc:  # A step may raise anything: what it raised is its answer.
        return raised(exc, execution_id=payload.execution_id, step_id=payload.step_id)
    return ended_with(output, undo=payload.undo, max_bytes=max_output_bytes)


def ended_with(output: Any, *, undo: bool, max_bytes: int) -> Ended:
    """Say how a function ended by what it returned. Of a generator nothing has run, though of what made it something may have."""
    if inspect.isgenerator(output) or inspect.isasyncgen(output):
        message = f"it returned a generator, {output.__qualname__}, that nobody runs: a step must not use yield"
        return Ended(outcome="unknown", error=as_error(ErrorCode.STEP_ACTION_INVALID, message), retryable=False)
    # What an undo returns is not kept, so it cannot be too large or no JSON either.
    return Ended(outcome="ok") if undo else checked_output(output, max_bytes)


def ask(function: Callable[..., Any], payload: Payload, *, limit_sec: float) -> Answer:
    """Ask an author's `verify` whether the action happened; whatever is not a clear word counts as unknown."""
    ended = run_function(function, payload, limit_sec=limit_sec, max_output_bytes=1000)
    answers: dict[Any, Answer] = {"happened": "happened", "did_not": "did_not"}
    return answers.get(str(ended.output), "unknown") if ended.outcome == "ok" else "unknown"


async def _await(awaitable: Any) -> Any:
    return await awaitable


def checked_output(output: Any, max_bytes: int, *, served_by: str = "") -> Ended:
    """Accept an output that can be stored. One that cannot does not mean that nothing happened: unknown, not failed."""
    if isinstance(output, dict):
        output = {key: value for key, value in output.items() if key != "_saga"}
    try:
        check_json(output, what="the step's output", max_bytes=max_bytes, too_large=ErrorCode.SAGA_CONTEXT_TOO_LARGE)
    except IntegrationError as exc:
        return Ended(outcome="unknown", error=as_error(exc.code, exc.message), retryable=False)
    return Ended(outcome="ok", output=output, served_by=served_by)


def raised(exc: Exception, *, execution_id: str, step_id: str) -> Ended:
    """Say how a function ended by what it raised, and log where it did: its author can read that nowhere else."""
    ended = ended_by_exception(exc)
    if ended.outcome in ("failed", "unknown"):
        log.warning("a step's function raised", exc_info=exc, extra={"execution_id": execution_id, "step_id": step_id})
    return ended


def ended_by_exception(exc: BaseException) -> Ended:
    """Translate what a function raised; see `SagaStep` for the words."""
    name, text = type(exc).__name__, f"{type(exc).__name__}: {exc}"
    if isinstance(exc, Refused):
        return Ended(outcome="refused", error=as_error(ErrorCode.STEP_REFUSED, text, name))
    if isinstance(exc, CircuitOpen):
        return _held(exc)
    if isinstance(exc, StepTimedOut):
        return Ended(outcome="unknown", error=as_error(ErrorCode.STEP_TIMED_OUT, text, name))
    if isinstance(exc, RequestFailed):
        return _ended_request(exc)
    if isinstance(exc, OutcomeUnknown | TimeoutError | ConnectionError):
        return Ended(outcome="unknown", error=as_error(ErrorCode.STEP_OUTCOME_UNKNOWN, text, name))
    return Ended(outcome="failed", error=as_error(ErrorCode.STEP_FAILED, text, name))


def run_http(call: Call, payload: Payload, *, limit_sec: float, max_output_bytes: int) -> Ended:
    """Route the call like any request; the saga's own policy retries it, with the same key."""
    method, _, path = call.target.partition(" ")
    limit_sec = min(limit_sec, settings.HUB.request_max_timeout_sec)
    try:
        answer = routing.route(
            call.where,
            method,
            path,
            data=payload.for_service() if method not in ("GET", "HEAD") else None,
            timeout=limit_sec,
            prefer_service_id=payload.prefer_service_id or None,
            extra_headers=payload.headers(),
        )
    except CircuitOpen as exc:
        return _held(exc)
    except RequestFailed as exc:
        return _ended_request(exc)
    except IntegrationError as exc:
        if exc.code in AWAY or (exc.code is ErrorCode.SERVICE_NOT_FOUND and ownership.was_registered(call.where)):
            return _held(exc)
        return Ended(outcome="failed", error=as_error(exc.code, exc.message), retryable=exc.is_recoverable)
    if payload.undo:
        return Ended(outcome="ok", served_by=answer.service_id)
    return checked_output(answer.body, max_output_bytes, served_by=answer.service_id)


def _ended_request(exc: RequestFailed) -> Ended:
    """409 and 422 refuse; another 4xx failed for good; 5xx may have acted before it failed, like a reset after sending.

    The router may have sent it more than once: a refusal says nothing of what a request before it did.
    """
    error = as_error(exc.code, exc.message, str(exc.status_code or ""))
    if exc.outcome == "unknown" or exc.status_code in DONE_ELSEWHERE_STATUSES:
        return Ended(outcome="unknown", error=error)
    if exc.status_code in REFUSED_STATUSES:
        return Ended(outcome="refused", error=error)
    if exc.outcome == "answered" and exc.status_code is not None and exc.status_code < 500:
        return Ended(outcome="failed", error=error, retryable=exc.status_code in TRANSIENT_STATUSES)
    return Ended(outcome="failed" if exc.outcome == "nothing_sent" else "unknown", error=error)


def _held(exc: IntegrationError) -> Ended:
    wait_sec = min(getattr(exc, "retry_after_sec", None) or DEFAULT_HOLD_SEC, MAX_HOLD_SEC)
    return Ended(outcome="held", error=as_error(exc.code, exc.message), retry_after_sec=wait_sec)


def as_error(code: ErrorCode, message: str, kind: str = "") -> dict[str, Any]:
    """Return an error as it is stored; `kind` is the exception's name or the HTTP status, for `non_retryable`."""
    return {"code": code.value, "message": storable(redactor().text(message)[:500]), "kind": kind}
