"""The Python face of the sagas: `IntegrationLayer().saga_orchestrator`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.aio import in_thread
from hub.errors import ErrorCode, IntegrationError
from sagas import beats, catalog, entrance, local, services, signals
from sagas.accept import Request, accept
from sagas.definitions import SagaDefinition
from sagas.models import SagaTransition
from sagas.spec import SagaSpec
from sagas.states import FINAL, SagaStatus, StepStatus

LOOK_SEC = (0.05, 1.0)
"""How often a waiting caller looks at its run: soon at first, then once a second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepView:
    """One step of a run as a caller sees it."""

    step_id: str
    step_name: str
    status: StepStatus
    attempts: int
    undo_attempts: int
    output: Any
    error: Mapping[str, Any] | None
    undo_error: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaExecutionView:
    """A run as a caller sees it: `status`, `context`, `error` (the first error: code, message, step_id), `steps`."""

    execution_id: str
    saga_name: str
    status: SagaStatus
    cause: str | None
    context: dict[str, Any]
    error: Mapping[str, Any] | None
    trace_id: str | None
    correlation_id: str
    steps: tuple[StepView, ...]

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


class SagaOrchestrator:
    """Start sagas and see how they end. Every method may raise `IntegrationError` with a code of E114xx."""

    async def execute_saga(
        self, saga: SagaDefinition, context: dict[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> SagaExecutionView:
        """Run a saga and return it when it has ended, however it ended.

        A saga that workers know (`HUB_SAGA_MODULES`), or that has no functions, runs on workers; any other runs here.
        """
        execution_id, functions = await self._accept(saga, context, idempotency_key)
        if functions is not None:
            await local.drive(execution_id, functions)
        return await self.wait(execution_id)

    async def start_saga(
        self, saga: SagaDefinition, context: dict[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> SagaExecutionView:
        """Start a saga and return at once. One with closures goes on in this event loop, as long as that runs."""
        execution_id, functions = await self._accept(saga, context, idempotency_key)
        if functions is not None:
            task = asyncio.create_task(local.drive(execution_id, functions))
            _driving.add(task)
            task.add_done_callback(_driving.discard)
        return await self.get_execution(execution_id)

    async def _accept(self, saga: SagaDefinition, context: dict[str, Any] | None, key: str | None) -> tuple[str, dict[str, Any] | None]:
        """Store the run; return its id and, if it is to be driven here, its closures."""
        if not isinstance(saga, SagaDefinition):
            raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"saga must be a SagaDefinition, not {type(saga).__name__}")
        spec = saga.spec()
        here = not await in_thread(runs_on_workers, spec)
        execution_id, is_new = await in_thread(_store, saga, context, key, here)
        return execution_id, saga.local_functions() if here and is_new else None

    async def wait(self, execution_id: str, timeout_sec: float | None = None) -> SagaExecutionView:
        """Return a run when it has ended; `TimeoutError` after `timeout_sec`."""
        async with asyncio.timeout(timeout_sec):
            pause, longest = LOOK_SEC
            while not (found := await self.get_execution(execution_id)).is_final:
                await asyncio.sleep(pause)
                pause = min(longest, pause * 1.5)
            return found

    async def get_execution(self, execution_id: str) -> SagaExecutionView:
        """Return a run; E11423 when there is none."""
        return await in_thread(_view, execution_id)

    async def list_executions(
        self, status: SagaStatus | str | None = None, saga_name: str | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return the newest runs (at most 1,000): execution_id, saga_name, status, cause, created_at."""
        return await in_thread(services.executions, status=status, saga_name=saga_name, limit=limit)

    async def signal(self, execution_id: str, name: str, payload: Any = None) -> dict[str, Any]:
        """Give a run a signal that a step of it waits for, or will wait for."""
        return await in_thread(signals.give, execution_id, name, payload)

    async def cancel_execution(self, execution_id: str, reason: str = "") -> dict[str, Any]:
        """Turn a run back: no new step, then everything is undone. E11425 when it has ended."""
        return await in_thread(services.cancel, execution_id, reason=reason)

    async def retry_execution(self, execution_id: str, reason: str = "retried by its caller") -> dict[str, Any]:
        """Send a failed or parked run on from the step, or the undo, that failed."""
        return await in_thread(services.retry, execution_id, reason=reason)

    async def get_execution_trace(self, execution_id: str) -> list[dict[str, Any]]:
        """Return every move of a run in order: at, step_id (empty for the run itself), old, new, reason, actor."""
        return await in_thread(_history, execution_id)


_driving: set[asyncio.Task[None]] = set()


def runs_on_workers(spec: SagaSpec) -> bool:
    """Tell whether workers can run every step: they hold the definition, or it needs no functions at all."""
    kinds = {call.kind for step in spec.steps for call in (step.do, step.undo, step.verify) if call}
    return "local" not in kinds and ("function" not in kinds or catalog.holds(spec))


def _store(saga: SagaDefinition, context: dict[str, Any] | None, key: str | None, here: bool) -> tuple[str, bool]:
    spec = saga.spec()
    entrance.admit(saga, spec, context=context, key=key, found_by=key)
    request = Request(context=context, idempotency_key=key, owner_sec=beats.OWNER_SEC if here else None)
    row, is_new = accept(spec, request)
    if is_new and not here:
        services.set_off(row)
    return str(row.pk), is_new


def _view(execution_id: str) -> SagaExecutionView:
    found = services.status(execution_id)
    steps = tuple(StepView(**{**step, "status": StepStatus(step["status"])}) for step in found["steps"])
    names = ("execution_id", "saga_name", "cause", "context", "error", "trace_id", "correlation_id")
    return SagaExecutionView(status=SagaStatus(found["status"]), steps=steps, **{name: found[name] for name in names})


def _history(execution_id: str) -> list[dict[str, Any]]:
    moves = SagaTransition.objects.filter(execution=services.identifier(execution_id)).order_by("id")
    names = ("at", "step_id", "old", "new", "reason", "actor")
    return [{**move, "at": move["at"].isoformat()} for move in moves.values(*names)[:10_000]]
