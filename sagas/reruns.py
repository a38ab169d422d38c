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
    rerun_id = stands_on(row)
    if rerun_id is not None:
        raise IntegrationError(
            ErrorCode.TRANSITION_ILLEGAL,
            f"saga {row.pk} was run again as {rerun_id}, which stands on what it did",
            recovery_suggestion="see to that one; this one can be resolved",
        )


def check_none_is_open(row: SagaExecution) -> None:
    """Refuse (E11425) to begin a run again while another one begun from it goes on, or waits for an operator."""
    rerun_id = still_open(row)
    if rerun_id is not None:
        raise IntegrationError(
            ErrorCode.TRANSITION_ILLEGAL,
            f"saga {row.pk} was run again as {rerun_id}, which has not ended: both would do the same steps",
            recovery_suggestion="see to that one",
        )
