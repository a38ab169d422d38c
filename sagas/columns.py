"""The columns of a run and of its steps: states as rows hold them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from django.conf import settings

from hub.telemetry.secrets import redactor
from sagas import clock, plan
from sagas.models import SagaExecution
from sagas.spec import SagaSpec
from sagas.states import ACTIVE, Cause, RunState, SagaStatus, StepState, StepStatus

_STEP_FIELDS = [f.name for f in fields(StepState)]
_STEP_TIMES = {"lease_until", "due_at"}


def run_state(row: SagaExecution, steps: tuple[StepState, ...]) -> RunState:
    """Return the state that a row holds."""
    return RunState(
        status=SagaStatus(row.status),
        cause=Cause(row.cause) if row.cause else None,
        error=row.error,
        steps=steps,
        input=row.input,
        deadline_at=row.deadline_at.timestamp(),
        started=row.started_count,
        hints=row.hints,
        blocked_at=clock.to_seconds(row.blocked_at),
        blocked_reason=row.blocked_reason,
        signals=row.signals,
        owner_until=clock.to_seconds(row.owner_until),
        traceparent=row.traceparent,
    )


def step_state(row: Mapping[str, Any]) -> StepState:
    """Return the state that the columns of a step's row hold."""
    values = {name: row[name] for name in _STEP_FIELDS}
    values["status"] = StepStatus(values["status"])
    for name in _STEP_TIMES:
        values[name] = clock.to_seconds(values[name])
    return StepState(**values)


def run_values(spec: SagaSpec, run: RunState, now: float) -> dict[str, Any]:
    """Return what a run's row must hold, secrets redacted, with when somebody must look at it next."""
    wake = plan.wake_at(spec, run, now=now, pickup_sec=settings.HUB.saga_pickup_sec)
    return {
        "status": run.status.value,
        "cause": run.cause.value if run.cause else "",
        "error": redactor().value(run.error),
        "context": plan.context(spec, run),
        "deadline_at": clock.to_datetime(run.deadline_at),
        "started_count": run.started,
        "hints": run.hints,
        "blocked_at": clock.to_datetime(run.blocked_at),
        "blocked_reason": redactor().text(run.blocked_reason)[:300],
        "signals": run.signals,
        "owner_until": clock.to_datetime(run.owner_until),
        "next_wake_at": clock.to_datetime(wake),
    }


def marks(row: SagaExecution, run: RunState, now: float) -> dict[str, Any]:
    """Return when the run started and finished; a run that an operator sends on is not finished any more."""
    started = row.started_at or (clock.to_datetime(now) if run.started else None)
    return {"started_at": started, "finished_at": None if run.status in ACTIVE else clock.to_datetime(now)}


def step_values(before: StepState, after: StepState) -> dict[str, Any]:
    """Return what of a step's row must be written."""
    changed = {name: getattr(after, name) for name in _STEP_FIELDS if differs(getattr(after, name), getattr(before, name))}
    return {name: clock.to_datetime(value) if name in _STEP_TIMES else value for name, value in changed.items()}


def differs(new: Any, old: Any) -> bool:
    """Tell whether a column must be written; to Python 1 and True are equal, as JSON they are not."""
    return new != old or (isinstance(new, dict | list | bool | int | float) and repr(new) != repr(old))
