"""How often an error code came up lately: read from the newest rows that went wrong, a bounded number of each kind.

Every source is one index from its new end: so many rows of it are read and no more, whatever the table holds. Where
those do not reach back as far as a window, its count is a lower bound and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Min, Q, QuerySet
from django.db.models.fields.json import KT

from hub.events.models import DeadLetter
from hub.routing.models import RoutedRequest
from hub.telemetry.models import Span
from sagas.models import SagaExecution
from sagas.states import SagaStatus

WINDOWS = {"last hour": timedelta(hours=1), "last day": timedelta(days=1), "last 7 days": timedelta(days=7)}
READ = 500
"""How many rows are read of each index: so many of each status of a saga, of each outcome of a request."""
_ENDED_BADLY = (SagaStatus.NEEDS_OPERATOR, SagaStatus.FAILED, SagaStatus.COMPENSATED)
_WENT_WRONG = (RoutedRequest.Outcome.ANSWERED, RoutedRequest.Outcome.NOTHING_SENT, RoutedRequest.Outcome.UNKNOWN)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frequency:
    """How often within one window; `is_at_least`: older rows of the window were not read."""

    count: int
    is_at_least: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One kind of thing that went wrong with a code, for each window; `kept_days` when that is shorter than the longest."""

    what: str
    counts: list[Frequency]
    kept_days: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """A table: `newest` are its indexes from their new ends; what `kept_days` ago ended is pruned."""

    what: str
    permission: str
    newest: Callable[[], Iterable[QuerySet[Any]]]
    kept_days: Callable[[], int]


def count(code: str, *, now: datetime, may: Callable[[str], bool]) -> list[Line]:
    """Return the counts of a code, of what this person may see: a query for each status or outcome."""
    return [_line(source, code, now) for source in _SOURCES if may(source.permission)]


def _line(source: _Source, code: str, now: datetime) -> Line:
    kept_days = source.kept_days()
    found = [_counts(rows, code, now) for rows in source.newest()]
    return Line(
        what=source.what,
        counts=[_sum(parts) for parts in zip(*found, strict=True)],
        kept_days=kept_days if timedelta(days=kept_days) < max(WINDOWS.values()) else None,
    )


def _sum(parts: Iterable[Frequency]) -> Frequency:
    seen = list(parts)
    return Frequency(count=sum(one.count for one in seen), is_at_least=any(one.is_at_least for one in seen))


def _counts(rows: QuerySet[Any], code: str, now: datetime) -> list[Frequency]:
    """Count in the database what was read of one index; `rows` have `when` and `error_code`."""
    since = [now - window for window in WINDOWS.values()]
    wanted = {f"window_{place}": Count("pk", filter=Q(error_code=code, when__gte=begin)) for place, begin in enumerate(since)}
    found = rows[:READ].aggregate(read=Count("pk"), oldest=Min("when"), **wanted)
    return [
        Frequency(count=found[f"window_{place}"], is_at_least=found["read"] == READ and found["oldest"] > begin)
        for place, begin in enumerate(since)
    ]


def _sagas() -> Iterable[QuerySet[Any]]:
    for status in _ENDED_BADLY:
        rows = SagaExecution.objects.filter(status=status.value).order_by("-created_at")
        yield rows.annotate(when=F("created_at"), error_code=KT("error__code")).values("pk", "when", "error_code")


def _dead_letters() -> Iterable[QuerySet[Any]]:
    yield DeadLetter.objects.order_by("-last_at").annotate(when=F("last_at")).values("pk", "when", "error_code")


def _requests() -> Iterable[QuerySet[Any]]:
    for outcome in _WENT_WRONG:
        rows = RoutedRequest.objects.filter(outcome=outcome).order_by("-id")
        yield rows.annotate(when=F("created_at"), error_code=F("code")).values("pk", "when", "error_code")


def _spans() -> Iterable[QuerySet[Any]]:
    rows = Span.objects.filter(status=Span.Status.ERROR).order_by("-start")
    yield rows.annotate(when=F("start"), error_code=KT("attributes__error.type")).values("pk", "when", "error_code")


_SOURCES = (
    _Source(
        what="sagas that turned back, by when they were accepted",
        permission="sagas.view_sagaexecution",
        newest=_sagas,
        kept_days=lambda: settings.HUB.saga_retention_days,
    ),
    _Source(
        what="requests that went wrong",
        permission="routing.view_routedrequest",
        newest=_requests,
        kept_days=lambda: settings.HUB.request_retention_days,
    ),
    _Source(
        what="dead letters, by their last death",
        permission="events.view_deadletter",
        newest=_dead_letters,
        kept_days=lambda: settings.HUB.event_retention_days,
    ),
    _Source(
        what="failed spans of traces",
        permission="telemetry.view_span",
        newest=_spans,
        kept_days=lambda: settings.HUB.trace_retention_days,
    ),
)
