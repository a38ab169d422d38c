"""Safe deploys: which runs in flight would the code of this process strand, and why?"""

from __future__ import annotations

from typing import Any

from sagas import catalog
from sagas.models import SagaExecution, SagaVersion
from sagas.spec import Call, SagaSpec, from_dict
from sagas.states import ACTIVE

LISTED = 200


def stranded() -> list[dict[str, Any]]:
    """Return versions with runs in flight that would park: ``{saga_name, version, why, runs, execution_ids}`` (200 ids at most)."""
    found = []
    in_flight = SagaExecution.objects.filter(status__in=[status.value for status in ACTIVE])
    for version in SagaVersion.objects.filter(pk__in=in_flight.values("definition")):
        why = "; ".join(_problems(from_dict(version.snapshot)))
        if why:
            runs = in_flight.filter(definition=version)
            ids = [str(pk) for pk in runs.order_by("created_at").values_list("pk", flat=True)[:LISTED]]
            about = {"saga_name": version.saga_name, "version": version.version, "why": why}
            found.append({**about, "runs": runs.count(), "execution_ids": ids})
    return found


def _problems(spec: SagaSpec) -> list[str]:
    calls = [call for step in spec.steps for call in (step.do, step.undo, step.verify) if call]
    problems = []
    if any(call.kind == "function" for call in calls) and not catalog.holds(spec):
        problems.append(f"its functions need version {spec.version}, which this code does not define")
    lost = sorted({_name(call) for call in calls if call.kind == "task"} - _tasks_named_here())
    if lost:
        problems.append(f"no definition of this code names its task {', '.join(lost)} any more")
    return problems


def _tasks_named_here() -> set[str]:
    """Return the layers' tasks that the definitions of this code name: a renamed task is missing from them."""
    calls = [call for spec in catalog.specs().values() for step in spec.steps for call in (step.do, step.undo) if call]
    return {_name(call) for call in calls if call.kind == "task"}


def _name(call: Call) -> str:
    return f"{call.target} on {call.where}"
