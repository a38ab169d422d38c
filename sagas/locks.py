"""Locks on entities: two runs that name one entity run one after the other, or the second is refused (S24).

A run takes all its locks at once, before its first step, or none: so two runs cannot wait for each other. They end with the
run, in the commit that ends it; a run in front of an operator keeps them, because what it left is not settled.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from hub.crashpoints import crash_point
from hub.errors import ErrorCode, IntegrationError
from sagas import clock
from sagas.models import SagaExecution, SagaLock
from sagas.states import FINAL, SagaStatus

MAX_NAME = 200
_SETTLED = FINAL - {SagaStatus.NEEDS_OPERATOR}


def names(templates: tuple[str, ...], context: Mapping[str, Any]) -> list[str]:
    """Return the lock names, ``order:{id}`` filled from the context; E11412 when a field is missing or not plain."""
    return sorted({_fill(template, context) for template in templates})


def _fill(template: str, context: Mapping[str, Any]) -> str:
    filled = ""
    for text, name, _, _ in string.Formatter().parse(template):
        filled += text
        if name is None:
            continue
        value = context.get(name)
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise IntegrationError(
                ErrorCode.STEP_REFERENCE_UNKNOWN,
                f"lock {template!r} needs {name!r} in the context, as text or a whole number",
            )
        filled += str(value)
    if len(filled) > MAX_NAME:
        raise IntegrationError(ErrorCode.STEP_REFERENCE_UNKNOWN, f"lock {template!r} is longer than {MAX_NAME} characters when filled")
    return filled


def acquire(row: SagaExecution) -> SagaLock | None:
    """Take all locks of a run; return None when it has them, else one that another run holds.

    A child works under the locks of its ancestors: they wait for it.
    """
    held = _held(row.lock_names)
    family = _family(row) if held else {row.pk}
    mine = {lock.name for lock in held if lock.execution_id in family}
    if mine.issuperset(row.lock_names):
        return None
    try:
        with transaction.atomic():
            insert(row, without=mine)
            crash_point("lock.before_commit", row.pk)
    except IntegrityError:
        return SagaLock.objects.filter(name__in=row.lock_names).exclude(execution_id__in=family).first()
    crash_point("lock.after_commit", row.pk)
    return None


def inherited(row: SagaExecution) -> set[str]:
    """Return those locks of a run that its ancestors hold."""
    held = SagaLock.objects.filter(name__in=row.lock_names, execution_id__in=_family(row) - {row.pk})
    return set(held.values_list("name", flat=True))


def _family(row: SagaExecution) -> set[UUID]:
    return {row.pk, *_ancestors(row)}


def _ancestors(row: SagaExecution) -> Iterator[UUID]:
    parent_id = row.parent_id
    while parent_id is not None:
        yield parent_id
        parent_id = SagaExecution.objects.filter(pk=parent_id).values_list("parent_id", flat=True).first()


def _held(lock_names: list[str]) -> list[SagaLock]:
    """Return the locks that are held, without those of runs that have ended.

    A process that took the locks while another one ended the run (cancelled, out of time) leaves them behind: it learns
    only by its claim that it came too late.
    """
    rows = SagaLock.objects.filter(name__in=lock_names).select_related("execution")
    found = list(rows.only("name", "acquired_at", "execution__status"))
    left = [lock.pk for lock in found if SagaStatus(lock.execution.status) in _SETTLED]
    if left:
        SagaLock.objects.filter(pk__in=left, execution__status__in=[status.value for status in _SETTLED]).delete()
    return [lock for lock in found if lock.pk not in left]


def insert(row: SagaExecution, *, without: Iterable[str] = ()) -> None:
    """Insert the lock rows of a run; `IntegrityError` when another run has one of them."""
    now, mine = clock.moment(clock.now()), set(without)
    SagaLock.objects.bulk_create(SagaLock(name=name, execution=row, acquired_at=now) for name in row.lock_names if name not in mine)


def refuse_if_held(lock_names: list[str], parent: SagaExecution | None) -> None:
    """Raise E11434 when another run holds one of these, unless it is among those that a child works for."""
    family = set() if parent is None else _family(parent)
    held = [lock for lock in _held(lock_names) if lock.execution_id not in family]
    if held:
        raise locked(held[0])


def locked(lock: SagaLock) -> IntegrationError:
    return IntegrationError(
        ErrorCode.ENTITY_LOCKED,
        f"{lock.name!r} is held by saga {lock.execution_id} since {lock.acquired_at:%H:%M:%S}",
        recovery_suggestion="wait until that saga has ended",
    )


def release(row: SagaExecution) -> None:
    """Let go of a run's locks, within the commit that ends it."""
    if row.lock_names:
        SagaLock.objects.filter(execution=row).delete()


def waiters(lock_names: list[str]) -> list[str]:
    """Return runs that wait for their locks; called when some were released. Bounded: the sweeper finds the others."""
    if not lock_names:
        return []
    stand_still = [SagaStatus.WAITING.value, SagaStatus.COMPENSATING.value]
    waiting = SagaExecution.objects.filter(status__in=stand_still, blocked_at__isnull=False).order_by("created_at")[:100]
    wanted = set(lock_names)
    return [str(row.pk) for row in waiting if wanted.intersection(row.lock_names)][:10]
