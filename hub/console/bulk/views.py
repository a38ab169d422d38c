"""The page of an operation on many things: the list before it starts, progress and results after."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from hub.console import audit, pages
from hub.console.acting import shape
from hub.console.bulk import operations
from hub.console.bulk.actions import BATCH
from hub.console.bulk.choices import CHOICES
from hub.console.models import BatchItem, BatchOperation

PAGE = 50
_PAGES_OF = {"saga": "admin:sagas_sagaexecution_change", "dead-letter": "admin:events_deadletter_change"}


def show(request: HttpRequest, operation_id: str) -> HttpResponse:
    """Show an operation, a page of its items at a time."""
    row: BatchOperation = pages.found(request, BATCH, operation_id)
    counts, status = operations.counts(row.pk), request.GET.get("status", "")
    items = BatchItem.objects.filter(operation=row, position__gte=_number(request.GET.get("from", "")))
    if status in BatchItem.Status.values:
        items = items.filter(status=status)
    shown = list(items.order_by("position")[: PAGE + 1])
    choice = CHOICES.get((row.subject, row.action))
    return pages.render(
        request,
        "console/batch.html",
        title=f"{choice.action.label if choice else row.action}: {row.total}",
        row=row,
        kind=row.subject.replace("-", " "),
        label=choice.action.label if choice else row.action,
        counts=[(BatchItem.Status(name).label, name, count) for name, count in counts.items() if count],
        acted=counts["done"] + counts["refused"],
        status=status,
        items=shown[:PAGE],
        next_from=shown[PAGE].position if len(shown) > PAGE else None,
        page_of=_PAGES_OF[row.subject],
        offers=shape.offers(BATCH, row, request.user.has_perm),
        actions=audit.of("batch", BATCH.id_of(row)),
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 9 else 0
