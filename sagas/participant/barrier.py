"""The barrier: duplicate, empty and hanging calls of a saga step are settled in the business transaction (S5-S7).

The idea is DTM's sub-transaction barrier: two inserts that can succeed only once. An action inserts (step, do); if it is
there already, the call is a duplicate, or its undo came first and it must not run any more. An undo inserts (step, do) on the
action's behalf; if that succeeds, the action never ran and there is nothing to undo. Then it inserts (step, undo), which
fails for a duplicate. All in one transaction with the business change: both happen, or neither.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any, overload

from django.db import transaction
from django.utils import timezone

from hub import pruning
from hub.errors import ErrorCode, IntegrationError, Refused
from sagas.participant.models import SagaBarrier

Function = Callable[..., Any]


@overload
def saga_participant(function: Function) -> Function: ...
@overload
def saga_participant(*, undo: bool = False, using: str | None = None) -> Callable[[Function], Function]: ...
def saga_participant(
    function: Function | None = None, *, undo: bool = False, using: str | None = None
) -> Function | Callable[[Function], Function]:
    """Let a step's function run exactly once, in one transaction with its barrier rows on the database `using`.

    The function takes ``context`` and, for an undo, ``output``: what the action returned here, even if the hub never
    heard it. A duplicate action returns the first one's output; an action after its undo raises `Refused`; a duplicate
    or empty undo returns None. The function must not commit by itself.
    """
    if function is None:
        return functools.partial(_wrap, undo=undo, using=using)
    return _wrap(function, undo=undo, using=using)


def _wrap(function: Function, *, undo: bool, using: str | None) -> Function:
    @functools.wraps(function)
    def guarded(context: dict[str, Any], output: Any = None) -> Any:
        about = context.get("_saga")
        if about is None:
            raise IntegrationError(ErrorCode.ARGUMENT_MISSING, f"{function.__name__} is a saga's step, and its context has no '_saga'")
        step = {"execution_id": about["execution_id"], "step_id": about["step_id"]}
        with transaction.atomic(using=using):
            return _undo(function, step, context, output, using) if undo else _do(function, step, context, using)

    return guarded


def _do(function: Function, step: dict[str, str], context: dict[str, Any], using: str | None) -> Any:
    row, is_first = _insert(step, "do", "do", using)
    if is_first:
        row.output = function(context)
        row.save(update_fields=["output"], using=using)
    elif row.origin == "undo":
        raise Refused(f"step {step['step_id']} was undone before it came")
    return row.output


def _undo(function: Function, step: dict[str, str], context: dict[str, Any], output: Any, using: str | None) -> Any:
    done, was_empty = _insert(step, "do", "undo", using)
    if was_empty or done.origin == "undo":
        return None
    _, is_first = _insert(step, "undo", "undo", using)
    if not is_first:
        return None
    return function(context, done.output if output is None else output)


def _insert(step: dict[str, str], direction: str, origin: str, using: str | None) -> tuple[SagaBarrier, bool]:
    """Insert a row or find the one that was first; a rival that has not committed yet is waited for by the database."""
    return SagaBarrier.objects.using(using).get_or_create(**step, direction=direction, defaults={"origin": origin})


def prune(*, older_than: timedelta, using: str | None = None) -> int:
    """Delete barrier rows that no saga can ask for any more; give it longer than the longest saga lives.

    ``manage.py prune_saga_barriers`` does it from outside.
    """
    return pruning.delete(SagaBarrier.objects.using(using).filter(created_at__lt=timezone.now() - older_than).order_by("created_at"))
