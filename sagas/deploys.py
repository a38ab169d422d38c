"""Safe deploys: which runs in flight would the code of this process strand, and why?"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Q, QuerySet

from sagas import catalog, children
from sagas.models import SagaExecution, SagaVersion
from sagas.spec import Call, SagaSpec, from_dict
from sagas.states import ACTIVE, SagaStatus

LISTED = 200
_IN_FLIGHT = [*(status.value for status in ACTIVE), SagaStatus.NEEDS_OPERATOR.value]
"""An operator may send on, or have undone, what stands before one."""
_UNDOABLE = [SagaStatus.COMPLETED.value, SagaStatus.FAILED.value]


def stranded() -> list[dict[str, Any]]:
    """Return versions with runs in flight that would park: ``{saga_name, version, why, runs, execution_ids}`` (200 ids at most).

    E11931 when the definitions of this code cannot be loaded.
    """
    catalog.specs()  # what cannot be loaded is said also while nothing is in flight
    found = []
    under_way = SagaExecution.objects.filter(status__in=_IN_FLIGHT)
    # Two questions, each with an index of its own: most runs have ended and have no parent.
    versions = [rows.values("definition") for rows in (under_way, _below())]
    for version in SagaVersion.objects.filter(Q(pk__in=versions[0]) | Q(pk__in=versions[1])):
        why = "; ".join(_problems(from_dict(version.snapshot)))
        if why:
            runs = [rows.filter(definition=version).order_by("created_at") for rows in (under_way, _below())]
            ids = [str(pk) for rows in runs for pk in rows.values_list("pk", flat=True)[:LISTED]][:LISTED]
            about = {"saga_name": version.saga_name, "version": version.version, "why": why}
            found.append({**about, "runs": sum(rows.count() for rows in runs), "execution_ids": ids})
    return found


def _below() -> QuerySet[SagaExecution]:
    """Return the children that have ended below a run under way, at any depth: it may still have them undone (S23)."""
    above = [Q(**{f"{'parent__' * depth}status__in": _IN_FLIGHT}) for depth in range(1, children.MAX_DEPTH + 1)]
    return SagaExecution.objects.filter(reduce(or_, above), parent__isnull=False, status__in=_UNDOABLE)


def _problems(spec: SagaSpec) -> list[str]:
    calls = [call for step in spec.steps for call in (step.do, step.undo, step.verify) if call]
    problems = []
    if any(call.kind == "function" for call in calls) and not catalog.holds(spec):
        problems.append(f"its functions need version {spec.version}, which this code does not define")
    lost = sorted({_name(call) for call in calls if call.kind == "task"} - _tasks_named_here())
    if lost:
        problems.append(f"no definition of this code names its task {', '.join(lost)} any more")
    unknown = sorted({call.target for call in calls if call.kind == "saga" and not catalog.defines(call.target)})
    if unknown:
        problems.append(f"no definition of this code is its child saga {', '.join(unknown)}")
    return problems


def _tasks_named_here() -> set[str]:
    """Return the layers' tasks that the definitions of this code name: a renamed task is missing from them."""
    calls = [call for spec in catalog.specs().values() for step in spec.steps for call in (step.do, step.undo) if call]
    return {_name(call) for call in calls if call.kind == "task"}


def _name(call: Call) -> str:
    return f"{call.target} on {call.where}"
