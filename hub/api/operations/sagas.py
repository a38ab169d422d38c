"""Sagas: start one, see how it stands, and what operators do with it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Query, Router
from ninja.params.functions import Header
from pydantic import Field

from hub.api import paging
from hub.api.bearer import actor
from hub.api.bodies import Body
from hub.api.keys import key_of
from hub.api.offer import listing, operation
from hub.api.paging import Paged
from hub.api.scopes import Scope
from hub.diagnosis import services as diagnosis
from sagas import services, signals
from sagas.models import SagaExecution, SagaTransition
from sagas.states import SagaStatus

router = Router(tags=["sagas"])


class SagaWish(Body):
    """Which saga, and with what."""

    saga_name: str
    context: dict[str, Any] | None = None
    timeout_sec: float | None = None
    version: str | None = None
    idempotency_key: str | None = None


class Why(Body):
    """Why an operator acts; it stands in the history of the run."""

    reason: str


class StepWish(Why):
    """Which step."""

    step_id: str


class RerunWish(StepWish):
    """From which step, and what is different this time."""

    changes: dict[str, Any] | None = None


class Resolution(Why):
    """As what it ends."""

    outcome: Literal["completed", "compensated"]


class Signal(Body):
    """What a step waits for."""

    name: str
    payload: Any = None


class SagaFilter(Paged):
    """Which runs."""

    status: SagaStatus | None = None
    saga_name: str = Field("", max_length=100)
    correlation_id: str = Field("", max_length=128)
    trace_id: str = Field("", max_length=32)


@operation(router, "POST", "/sagas", Scope.SAGAS_WRITE, status=202)
def start_saga(request: HttpRequest, body: SagaWish, idempotency_key: str | None = Header(None, alias="Idempotency-Key")) -> dict[str, Any]:
    """Accept a run of a saga; workers carry it out.

    The same key gives the same run.
    """
    return services.start(**body.model_dump() | {"idempotency_key": key_of(idempotency_key, body.idempotency_key)})


@listing(router, "/sagas")
def list_sagas(request: HttpRequest, query: Query[SagaFilter]) -> dict[str, Any]:
    """List runs, newest first."""
    wanted = query.model_dump(include={"status", "saga_name", "correlation_id", "trace_id"})
    rows = SagaExecution.objects.filter(**{name: str(value) for name, value in wanted.items() if value})
    columns = ("saga_name", "status", "cause", "correlation_id", "trace_id", "created_at", "finished_at")
    page, cursor = paging.newest_first(rows.only("id", *columns), query, "created_at")
    return {"items": [{"execution_id": row.pk, **{name: getattr(row, name) for name in columns}} for row in page], "next": cursor}


@operation(router, "GET", "/sagas/{execution_id}", Scope.READ)
def show_saga(request: HttpRequest, execution_id: str) -> dict[str, Any]:
    """Show a run with its context and its steps."""
    return services.status(execution_id)


@listing(router, "/sagas/{execution_id}/history")
def list_saga_moves(request: HttpRequest, execution_id: str, query: Query[Paged]) -> dict[str, Any]:
    """List the moves of a run and of its steps, newest first."""
    rows = SagaTransition.objects.filter(execution=services.identifier(execution_id))
    page, cursor = paging.newest_first(rows, query, "id")
    columns = ("id", "at", "step_id", "old", "new", "reason", "actor")
    return {"items": [{name: getattr(row, name) for name in columns} for row in page], "next": cursor}


@operation(router, "GET", "/why/{identifier}", Scope.READ)
def say_why(request: HttpRequest, identifier: str) -> dict[str, Any]:
    """Say in words why a saga or a request is where it is, and what happens next by itself.

    A saga goes by its id or idempotency key; a request by its task id, trace id, correlation id or idempotency key.
    """
    return asdict(diagnosis.why(identifier))


@operation(router, "GET", "/sagas/{execution_id}/plan", Scope.READ)
def plan_saga_undo(request: HttpRequest, execution_id: str) -> dict[str, Any]:
    """Say what cancelling a run now would undo, in order."""
    return {"would_undo": services.undo_plan(execution_id)}


@operation(router, "POST", "/sagas/{execution_id}/signal", Scope.SAGAS_WRITE)
def signal_saga(request: HttpRequest, execution_id: str, body: Signal) -> dict[str, Any]:
    """Give a run the signal that a step waits for."""
    return signals.give(execution_id, body.name, body.payload, actor=actor(request))


@operation(router, "POST", "/sagas/{execution_id}/cancel", Scope.SAGAS_WRITE)
def cancel_saga(request: HttpRequest, execution_id: str, body: Why) -> dict[str, Any]:
    """Turn a run back."""
    return services.cancel(execution_id, reason=body.reason, actor=actor(request))


@operation(router, "POST", "/sagas/{execution_id}/retry", Scope.SAGAS_OPERATE)
def retry_saga(request: HttpRequest, execution_id: str, body: Why) -> dict[str, Any]:
    """Send a failed run on from the step, or the undo, that failed."""
    return services.retry(execution_id, reason=body.reason, actor=actor(request))


@operation(router, "POST", "/sagas/{execution_id}/compensate", Scope.SAGAS_OPERATE)
def compensate_saga(request: HttpRequest, execution_id: str, body: Why) -> dict[str, Any]:
    """Undo a failed run now."""
    return services.compensate(execution_id, reason=body.reason, actor=actor(request))


@operation(router, "POST", "/sagas/{execution_id}/skip", Scope.SAGAS_OPERATE)
def skip_saga_step(request: HttpRequest, execution_id: str, body: StepWish) -> dict[str, Any]:
    """Go on without a step, or an undo, that was dealt with by hand."""
    return services.skip(execution_id, body.step_id, reason=body.reason, actor=actor(request))


@operation(router, "POST", "/sagas/{execution_id}/resolve", Scope.SAGAS_OPERATE)
def resolve_saga(request: HttpRequest, execution_id: str, body: Resolution) -> dict[str, Any]:
    """End a failed run: what it left was put right by hand."""
    return services.resolve(execution_id, body.outcome, reason=body.reason, actor=actor(request))


@operation(router, "POST", "/sagas/{execution_id}/rerun", Scope.SAGAS_OPERATE, status=202)
def rerun_saga(request: HttpRequest, execution_id: str, body: RerunWish) -> dict[str, Any]:
    """Run an ended saga again from a step, as a new run."""
    return services.rerun(execution_id, body.step_id, reason=body.reason, changes=body.changes, actor=actor(request))
