"""Collect what callers, target and hub say, in the form that the checker reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sagas.models import SagaExecution, SagaStepExecution, SagaTransition
from sagas.spec import from_dict
from sagas.states import ACTIVE
from tests.sagas.history import Definition, Entry, History, Move, Need, Saga, Submission


def collect(
    ledger: Sequence[Mapping[str, Any]],
    *,
    submissions: Sequence[Submission] | None = None,
    faults: Mapping[str, int] | None = None,
    need: Need | None = None,
) -> History:
    """Return the whole history of this database; without `submissions`, each stored run counts as submitted."""
    rows = list(SagaExecution.objects.select_related("definition").order_by("created_at"))
    sagas = [Saga(id=str(row.pk), key=row.idempotency_key or str(row.pk), definition=_name(row), status=row.status) for row in rows]
    by_id = {(str(pk), step): status for pk, step, status in SagaStepExecution.objects.values_list("execution", "step_id", "status")}
    return History(
        definitions={_name(row): _definition(row) for row in rows},
        submissions=[Submission(key=saga.key, outcome="ok") for saga in sagas] if submissions is None else submissions,
        ledger=[_entry(line) for line in ledger],
        sagas=sagas,
        steps=by_id,
        moves=[_move(move) for move in SagaTransition.objects.order_by("id").values("execution", "step_id", "old", "new", "reason")],
        faults=faults or {},
        is_quiet=not any(row.status in {status.value for status in ACTIVE} for row in rows),
        need=need or Need(),
    )


def _name(row: SagaExecution) -> str:
    return f"{row.saga_name}:{row.definition.version}"


def _definition(row: SagaExecution) -> Definition:
    spec = from_dict(row.definition.snapshot)
    return Definition(
        version=spec.version,
        steps=tuple(step.step_id for step in spec.steps),
        undoable=frozenset(step.step_id for step in spec.steps if step.undo is not None),
        optional=frozenset(step.step_id for step in spec.steps if not step.required),
        silent=frozenset(step.step_id for step in spec.steps if step.do.kind in ("wait", "saga")),
        groups={step.step_id: step.parallel_group for step in spec.steps if step.parallel_group},
        pivot=next((step.step_id for step in spec.steps if step.kind == "pivot"), ""),
    )


def _entry(line: Mapping[str, Any]) -> Entry:
    return Entry(**{name: line[name] for name in ("seq", "event", "key", "saga", "step", "direction")})


def _move(move: Mapping[str, Any]) -> Move:
    return Move(saga=str(move["execution"]), step=move["step_id"], old=move["old"], new=move["new"], reason=move["reason"])
