"""What an operator may do to an operation on many things."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.urls import reverse

from hub.console.acting.shape import Action, Given, Subject
from hub.console.bulk import operations
from hub.console.bulk.choices import CHOICES
from hub.console.models import BatchOperation
from hub.errors import ErrorCode, IntegrationError

Status = BatchOperation.Status


def find(operation_id: str) -> BatchOperation:
    """Return an operation; E11920 when there is none."""
    try:
        row = BatchOperation.objects.filter(pk=UUID(operation_id)).first()
    except ValueError:
        row = None
    if row is None:
        raise IntegrationError(ErrorCode.NOT_FOUND, f"there is no operation {operation_id[:40]!r}")
    return row


def _standing(operation_id: str) -> dict[str, Any]:
    return {"status": find(operation_id).status, **operations.counts(operation_id)}


def _permission_for_one(row: BatchOperation) -> str:
    choice = CHOICES.get((row.subject, row.action))
    return f"console.{choice.action.permission}" if choice else "console.no_such_action"


def _start(given: Given) -> str:
    operations.start(given.subject_id, reason=given.reason, by=given.by)
    return "under way"


def _pause(given: Given) -> str:
    operations.pause(given.subject_id)
    return "no further item begins"


def _resume(given: Given) -> str:
    operations.resume(given.subject_id)
    return "under way again"


def _stop(given: Given) -> str:
    return f"{operations.stop(given.subject_id)} are left alone"


BATCH = Subject(
    name="batch",
    view_permission="console.view_batchoperation",
    find=find,
    id_of=lambda row: str(row.pk),
    look=_standing,
    page=lambda operation_id: reverse("admin:console_batchoperation_change", args=[operation_id]),
    also_needs=_permission_for_one,
    actions=(
        Action(
            name="start",
            label="Start",
            permission="start_batch",
            explains="Acts on each of the list below, one after another. The list stays as it is, whatever happens meanwhile.",
            call=_start,
            is_offered=lambda row: row.status == Status.DRAFT and row.total > 0,
        ),
        Action(
            name="pause",
            label="Pause",
            permission="pause_batch",
            explains="Lets no further item begin. What was done stays done.",
            call=_pause,
            is_offered=lambda row: row.status == Status.RUNNING,
        ),
        Action(
            name="resume",
            label="Resume",
            permission="resume_batch",
            explains="Goes on with those that wait.",
            call=_resume,
            is_offered=lambda row: row.status == Status.PAUSED,
        ),
        Action(
            name="stop",
            label="Stop for good",
            permission="stop_batch",
            explains="Leaves those that wait alone. What was done stays done.",
            call=_stop,
            is_offered=lambda row: row.status in (Status.RUNNING, Status.PAUSED),
        ),
    ),
)
