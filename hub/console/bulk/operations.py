"""An action on many things: drawn up with a frozen list, started by a person, done in small steps by workers.

A step takes a lease and acts on a few items, each with a row of what became of it. A worker that is killed leaves its
lease to run out; the sweeper sends the next step. An item's token makes it act once all the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import DatabaseError, transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError
from redis import RedisError

from hub.celery import CONTROL, app
from hub.console import audit
from hub.console.acting import shape
from hub.console.acting.shape import Given, May
from hub.console.bulk.choices import CHOICES, Choice
from hub.console.models import BatchItem, BatchOperation, OperatorAction
from hub.errors import ErrorCode, IntegrationError

log = logging.getLogger(__name__)

MAX_ITEMS = 1_000
STEP_ITEMS, STEP_SEC = 25, 2.0
LEASE = timedelta(seconds=30)
KEEP, KEEP_DRAFT = timedelta(days=90), timedelta(days=1)
Status, Item = BatchOperation.Status, BatchItem.Status


def draw_up(choice: Choice, chosen: Sequence[tuple[str, str, str]], *, by: str) -> BatchOperation:
    """Freeze a list of (id, name, status) and say which of them can be acted on; nothing is done yet."""
    kept, now = list(chosen[:MAX_ITEMS]), timezone.now()
    total = sum(status in choice.statuses for _, _, status in kept)
    with transaction.atomic():
        operation = BatchOperation.objects.create(
            subject=choice.subject.name, action=choice.action.name, by=by, total=total, was_cut=len(chosen) > MAX_ITEMS
        )
        items = (_item(operation, position, *one, choice, now) for position, one in enumerate(kept))
        BatchItem.objects.bulk_create(items, batch_size=500)
    return operation


def _item(operation: BatchOperation, position: int, pk: str, name: str, status: str, choice: Choice, now: datetime) -> BatchItem:
    item = BatchItem(operation=operation, position=position, subject_id=pk, name=name[:200])
    if status not in choice.statuses:
        item.status, item.message, item.at = Item.INELIGIBLE, f"it is {status.replace('_', ' ')}", now
    return item


def start(operation_id: Any, *, reason: str, by: str) -> None:
    """Set a draft off in the name of whoever says yes; E11921 when it is no draft any more."""
    _move(operation_id, [Status.DRAFT], Status.RUNNING, reason=reason[:500], by=by, started_at=timezone.now())
    send(operation_id)


def pause(operation_id: Any) -> None:
    """Let no further item begin; E11921 unless it runs."""
    _move(operation_id, [Status.RUNNING], Status.PAUSED)


def resume(operation_id: Any) -> None:
    """Go on; E11921 unless it is paused."""
    _move(operation_id, [Status.PAUSED], Status.RUNNING)
    send(operation_id)


def stop(operation_id: Any) -> int:
    """Leave the rest alone and return how many that are; E11921 unless it runs or is paused."""
    _move(operation_id, [Status.RUNNING, Status.PAUSED], Status.STOPPED, finished_at=timezone.now())
    return _waiting(operation_id).update(status=Item.LEFT, at=timezone.now())


def _move(operation_id: Any, old: list[str], new: str, **columns: Any) -> None:
    if BatchOperation.objects.filter(pk=operation_id, status__in=old).update(status=new, **columns) != 1:
        raise IntegrationError(ErrorCode.CONFLICT, f"the operation is not {' or '.join(old)} any more")


def send(operation_id: Any) -> None:
    """Ask a worker for a step, once what was decided is committed. Without a broker the sweeper asks again."""
    transaction.on_commit(lambda: _send(str(operation_id)))


def _send(operation_id: str) -> None:
    try:
        app.send_task("hub.control.run_batch", args=[operation_id], queue=CONTROL, ignore_result=True)
    except (OperationalError, RedisError, OSError) as exc:
        log.warning("step of a batch not sent, the sweeper will", extra={"operation": operation_id, "error": type(exc).__name__})


def sweep() -> int:
    """Ask for a step of each running operation that nobody is at; return for how many."""
    free = _free(BatchOperation.objects.filter(status=Status.RUNNING))
    ids = list(free.order_by("id").values_list("id", flat=True)[:50])
    for operation_id in ids:
        _send(str(operation_id))
    return len(ids)


def _free(rows: QuerySet[BatchOperation]) -> QuerySet[BatchOperation]:
    return rows.filter(Q(lease_until=None) | Q(lease_until__lt=timezone.now()))


def step(operation_id: str) -> None:
    """Act on a few items and ask for the next step; harmless when somebody else is at it, or nothing is left."""
    mine = _free(BatchOperation.objects.filter(pk=operation_id, status=Status.RUNNING))
    if mine.update(lease_until=timezone.now() + LEASE) != 1:
        return
    operation = BatchOperation.objects.get(pk=operation_id)
    _work_on(operation)
    BatchOperation.objects.filter(pk=operation_id).update(lease_until=None)
    if _waiting(operation_id).exists():
        send(operation_id)
    else:
        BatchOperation.objects.filter(pk=operation_id, status=Status.RUNNING).update(status=Status.DONE, finished_at=timezone.now())


def _work_on(operation: BatchOperation) -> None:
    choice, give_up_at = CHOICES[operation.subject, operation.action], time.monotonic() + STEP_SEC
    may = _rights_of(operation.by)
    for item in _waiting(operation.pk).order_by("position")[:STEP_ITEMS]:
        runs = BatchOperation.objects.filter(pk=operation.pk, status=Status.RUNNING).exists()
        if not runs or time.monotonic() > give_up_at:
            return
        status, code, message = _outcome(choice, operation, item, may=may)
        BatchItem.objects.filter(pk=item.pk).update(status=status, code=code, message=message[:1000], at=timezone.now())


def _rights_of(name: str) -> May:
    """Return what a person may do now; nothing, when there is no such person any more or nobody may log in as that one."""
    person = get_user_model().objects.filter(username=name).first()
    return person.has_perm if person else lambda permission: False


def _outcome(choice: Choice, operation: BatchOperation, item: BatchItem, *, may: May) -> tuple[str, str, str]:
    given = Given(subject_id=item.subject_id, reason=operation.reason, by=operation.by)
    try:
        if audit.sent(item.token) is None:
            _check_possible(choice, item, operation.by, may)
        done = shape.do(choice.subject, choice.action, given, token=item.token, again=True)
    except IntegrationError as exc:
        return Item.REFUSED, str(exc.code), str(exc)
    except DatabaseError:
        raise  # the lease runs out and the item is tried again
    except Exception as exc:  # One item must not keep the others from being acted on: it is put aside and said.
        log.exception("item of a batch failed", extra={"operation": str(operation.pk), "item": item.subject_id})
        return Item.REFUSED, str(ErrorCode.INTERNAL_ERROR), type(exc).__name__
    return (Item.DONE if done.outcome == OperatorAction.Outcome.DONE else Item.REFUSED), done.code, done.message


def _check_possible(choice: Choice, item: BatchItem, by: str, may: May) -> None:
    thing = choice.subject.find(item.subject_id)
    if not choice.subject.may(choice.action, thing, may):
        raise IntegrationError(ErrorCode.OPERATOR_NOT_PERMITTED, f"{by} may not do this any more")
    if not choice.action.is_offered(thing):
        raise IntegrationError(ErrorCode.CONFLICT, f"{choice.action.label!r} is not possible as it stands now")


def _waiting(operation_id: Any) -> QuerySet[BatchItem]:
    return BatchItem.objects.filter(operation=operation_id, status=Item.WAITING)


def counts(operation_id: Any) -> dict[str, int]:
    """Return how many items stand how."""
    found = dict(BatchItem.objects.filter(operation=operation_id).order_by().values_list("status").annotate(Count("pk")))
    return {status: found.get(status, 0) for status in Item.values}


def prune(*, batch: int = 100) -> int:
    """Delete operations that ended 90 days ago and drafts nobody started for a day, with their items; return how many."""
    now = timezone.now()
    old = Q(finished_at__lt=now - KEEP) | Q(status=Status.DRAFT, created_at__lt=now - KEEP_DRAFT)
    deleted = 0
    while ids := list(BatchOperation.objects.filter(old).order_by("created_at").values_list("pk", flat=True)[:batch]):
        BatchItem.objects.filter(operation__in=ids).delete()
        deleted += BatchOperation.objects.filter(pk__in=ids).delete()[0]
    return deleted
