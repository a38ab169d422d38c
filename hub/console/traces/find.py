"""Which traces there were lately: found by their newest spans, over indexes, a page at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Min, Q

from hub.partial import given
from hub.telemetry.models import Span

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
PAGE = 50
READ = 400
"""How many spans are looked at for a page: the newest that match, however large the table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """What the person asked for; `before` is where the page before ended.

    `min_ms` picks among the traces of a page, because no index knows how long they took: a page may show fewer.
    """

    service: str = ""
    errors_only: bool = False
    min_ms: float = 0.0
    known_as: str = ""
    before: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceLine:
    """A trace in the list: how it began, and how it went."""

    trace_id: str
    name: str
    service: str
    start: datetime
    duration_ms: float
    spans: int
    errors: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """The traces, the newest first; `older` continues there."""

    lines: list[TraceLine]
    older: datetime | None


def find(wanted: Filter) -> Page:
    """Return a page of traces."""
    seen = list(_matching(wanted).order_by("-start").values_list("trace_id", "start")[:READ])
    newest: dict[str, datetime] = {}
    for trace_id, start in seen:
        newest.setdefault(trace_id, start)
        if len(newest) == PAGE:
            break
    lines = [line for line in _lines(newest) if line.duration_ms >= wanted.min_ms]
    return Page(lines=lines, older=_older(seen, newest))


def _older(seen: list[tuple[str, datetime]], newest: dict[str, datetime]) -> datetime | None:
    """Return where the next page begins: behind the last trace where the page is full, else behind the last span that was read."""
    if len({trace_id for trace_id, _ in seen}) > len(newest):
        return min(newest.values())
    # The spans of few traces filled the read: begun at the newest span of the last one, the next page would be this one again.
    return seen[-1][1] if len(seen) == READ else None


def _matching(wanted: Filter) -> Any:
    rows = Span.objects.all()
    if _TRACE_ID.fullmatch(wanted.known_as.lower()):
        rows = rows.filter(trace_id=wanted.known_as.lower())
    elif wanted.known_as:
        rows = rows.filter(given("correlation_id", wanted.known_as))
    if wanted.service:
        rows = rows.filter(service=wanted.service)
    if wanted.errors_only:
        rows = rows.filter(status="error")
    return rows.filter(start__lt=wanted.before) if wanted.before else rows


def _lines(newest: dict[str, datetime]) -> list[TraceLine]:
    """Return the traces with their figures, in two queries whatever their number."""
    ids = list(newest)
    spans = Span.objects.filter(trace_id__in=ids)
    figures = (
        spans.order_by()
        .values("trace_id")
        .annotate(
            began=Min("start"),
            last=Max("start"),
            longest=Max("duration_us"),
            spans=Count("id"),
            errors=Count("id", filter=Q(status="error")),
        )
    )
    roots = spans.filter(parent_span_id="").order_by("-start").values_list("trace_id", "name", "service")[: PAGE * 4]
    named = {trace_id: (name, service) for trace_id, name, service in roots}
    by_id: dict[str, Any] = {row["trace_id"]: row for row in figures}
    return [_line(by_id[trace_id], *named.get(trace_id, ("(its first span is not stored)", ""))) for trace_id in ids if trace_id in by_id]


def _line(row: dict[str, Any], name: str, service: str) -> TraceLine:
    took_ms = max(row["longest"] / 1000, (row["last"] - row["began"]).total_seconds() * 1000)
    return TraceLine(
        trace_id=row["trace_id"],
        name=name,
        service=service,
        start=row["began"],
        duration_ms=took_ms,
        spans=row["spans"],
        errors=row["errors"],
    )


def services(lines: Iterable[TraceLine]) -> list[str]:
    """Return the services of these traces, to choose from."""
    return sorted({line.service for line in lines if line.service})
