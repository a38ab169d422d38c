"""Before the first step: can the saga be carried out at all? Refused in milliseconds instead of undone in minutes."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from hub.errors import ErrorCode, IntegrationError
from registry_app import lookup, ownership
from sagas import calls, catalog, roster
from sagas.models import SagaExecution
from sagas.spec import Call, SagaSpec
from sagas.states import SagaStatus

PAST_RUNS = 50
ENOUGH_RUNS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """What one call lacks."""

    text: str
    is_unknown_service: bool = False


def check(spec: SagaSpec, timeout_sec: float) -> None:
    """Refuse a start (E11435) with everything that is missing: tasks, queues, services, functions, time.

    Where nothing is missing but services that were never registered, it is the definition that is wrong (E11405).
    """
    needed = [call for step in spec.steps for call in (step.do, step.undo) if call]
    found = [problem for call in dict.fromkeys(needed) if (problem := _problem(call))]
    late = _too_little_time(spec, timeout_sec)
    problems = [*dict.fromkeys(problem.text for problem in found), *late]
    if not problems:
        return
    is_for_ever = not late and all(problem.is_unknown_service for problem in found)
    raise IntegrationError(
        ErrorCode.STEP_ACTION_INVALID if is_for_ever else ErrorCode.PREFLIGHT_FAILED,
        f"saga {spec.saga_name!r} cannot be carried out now: {'; '.join(problems)}",
        {"problems": problems},
        "register the service, or correct its name" if is_for_ever else "start it again when these are there",
    )


def _problem(call: Call) -> Problem | None:
    try:
        if call.kind == "task":
            missing = roster.missing(call.target, call.where)
            return Problem(text=str(missing.error["message"])) if missing else None
        if call.kind == "http":
            lookup.choose(call.where)
        elif call.kind == "saga":
            catalog.find(call.target)
        elif call.kind == "function":
            calls.resolve(call.target)
    except IntegrationError as exc:
        is_unknown = exc.code is ErrorCode.SERVICE_NOT_FOUND and not ownership.was_registered(call.where)
        return Problem(text=exc.message, is_unknown_service=is_unknown)
    return None


def _too_little_time(spec: SagaSpec, timeout_sec: float) -> list[str]:
    """Compare the time given with half of the last runs; a handful of runs says nothing."""
    done = SagaExecution.objects.filter(saga_name=spec.saga_name, status=SagaStatus.COMPLETED.value)
    times = done.order_by("-created_at").values_list("created_at", "finished_at")[:PAST_RUNS]
    took = [(finished - created).total_seconds() for created, finished in times if finished]
    if len(took) < ENOUGH_RUNS or median(took) <= timeout_sec:
        return []
    return [f"half of its last {len(took)} runs took longer than {timeout_sec:g} s (median {median(took):.1f} s)"]
