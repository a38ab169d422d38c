"""Do what an operator asks, once for each form, with a row that says who, what, why, before and after.

The row is written before anything is done: if this process ends in between, it stays `asked`, and the thing's own
history says whether it happened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from hub import pruning
from hub.console.models import OperatorAction
from hub.errors import ErrorCode, IntegrationError

KEEP = timedelta(days=400)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What somebody asks for; `token` names the form it came from."""

    token: UUID
    by: str
    action: str
    subject: str
    subject_id: str
    reason: str


def carry_out(wish: Wish, act: Callable[[], Any], look: Callable[[], dict[str, Any]], *, again: bool = False) -> OperatorAction:
    """Call `act` unless this form was sent before; return the row of what became of it.

    `look` says how the thing stands. A refusal is in the row, with its code. With `again`, one that stayed `asked` is
    done now if the thing stands as it did, and counts as done if it does not. Errors: E11901 without a reason.
    """
    if not wish.reason.strip():
        raise IntegrationError(ErrorCode.ARGUMENT_MISSING, "a reason is required", recovery_suggestion="say why, for the history")
    row, is_first = _write_down(wish, look())
    if is_first:
        _act(row, act, look)
    elif again and row.outcome == OperatorAction.Outcome.ASKED:
        _take_up(row, act, look)
    return row


def _write_down(wish: Wish, before: dict[str, Any]) -> tuple[OperatorAction, bool]:
    fields = {name: getattr(wish, name) for name in ("by", "action", "subject", "subject_id")}
    try:
        with transaction.atomic():
            row = OperatorAction.objects.create(token=wish.token, reason=wish.reason.strip()[:500], before=before, **fields)
    except IntegrityError:
        return OperatorAction.objects.get(token=wish.token), False
    return row, True


def _act(row: OperatorAction, act: Callable[[], Any], look: Callable[[], dict[str, Any]]) -> None:
    try:
        result = act()
    except IntegrationError as exc:
        row.outcome, row.code, row.message = OperatorAction.Outcome.REFUSED, str(exc.code), str(exc)[:1000]
    else:
        row.outcome, row.message = OperatorAction.Outcome.DONE, str(result or "")[:1000]
    row.after = look()
    row.save(update_fields=["outcome", "code", "message", "after"])


def _take_up(row: OperatorAction, act: Callable[[], Any], look: Callable[[], dict[str, Any]]) -> None:
    after = look()
    if after == row.before:
        _act(row, act, look)
        return
    row.outcome, row.after = OperatorAction.Outcome.DONE, after
    row.message = "it moved before its process ended"
    row.save(update_fields=["outcome", "message", "after"])


def sent(token: UUID) -> OperatorAction | None:
    """Return what a form did that was sent before."""
    return OperatorAction.objects.filter(token=token).first()


def of(subject: str, subject_id: str, *, limit: int = 20) -> list[OperatorAction]:
    """Return what was done to one thing, the newest first."""
    return list(OperatorAction.objects.filter(subject=subject, subject_id=subject_id)[:limit])


def expired() -> pruning.Expired:
    """Return the actions older than 400 days."""
    return {"operator_actions": OperatorAction.objects.filter(at__lt=timezone.now() - KEEP).order_by("at")}


def prune(batch: int = pruning.BATCH) -> int:
    """Delete what is older than 400 days, a batch at a time; return how many rows went."""
    return sum(pruning.delete(rows, batch=batch) for rows in expired().values())
