"""Which run was begun from another one again, and what that forbids: to do the same steps twice, or to undo what it stands on."""

from __future__ import annotations

import uuid

from hub.errors import ErrorCode, IntegrationError
from sagas.models import SagaExecution
from sagas.states import ACTIVE, SagaStatus

_OPEN = [status.value for status in (*ACTIVE, SagaStatus.NEEDS_OPERATOR)]


def stands_on(row: SagaExecution) -> uuid.UUID | None:
    """Return the run that was begun from this one again and needs what it did; None when there is none, or it was undone."""
    rows = SagaExecution.objects.filter(rerun_of=row).exclude(status=SagaStatus.COMPENSATED.value)
    return rows.values_list("pk", flat=True).first()


def still_open(row: SagaExecution) -> uuid.UUID | None:
    """Return the run that was begun from this one again and has not ended; None when there is none."""
    return SagaExecution.objects.filter(rerun_of=row, status__in=_OPEN).values_list("pk", flat=True).first()


def check_not_run_again(row: SagaExecution) -> None:
    """Refuse (E11425) to move a run that another one stands on."""
    _check(row, stands_on(row), "which stands on what it did", todo="see to that one; this one can be resolved")


def check_none_is_open(row: SagaExecution) -> None:
    """Refuse (E11425) to begin a run again while another one begun from it goes on, or waits for an operator."""
    _check(row, still_open(row), "which has not ended: both would do the same steps", todo="see to that one")


def _check(row: SagaExecution, rerun_id: uuid.UUID | None, why: str, *, todo: str) -> None:
    if rerun_id is not None:
        message = f"saga {row.pk} was run again as {rerun_id}, {why}"
        raise IntegrationError(ErrorCode.TRANSITION_ILLEGAL, message, recovery_suggestion=todo)
