"""The database sink: spans in, spans out."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DataError, IntegrityError, connection, transaction

from hub import prepared
from hub.json_values import storable
from hub.telemetry import conventions
from hub.telemetry.models import Span
from hub.telemetry.values import TraceSpan

log = logging.getLogger(__name__)
_COLUMNS = (
    "trace_id", "span_id", "parent_span_id", "name", "service", "kind", "start", "duration_us", "status",
    "status_message", "correlation_id", "kept", "attributes", "links", "events",
)  # fmt: skip
_MICROSECOND = timedelta(microseconds=1)
_as_json = json.JSONEncoder(default=str, ensure_ascii=False).encode
# NUL as JSON writes it: a backslash that another one does not make a letter.
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
MAX_SPANS_READ = 5_000
WORTH_A_COPY = 5
"""A COPY takes more round trips than an INSERT, and less for each row."""


def write(spans: Sequence[TraceSpan]) -> int:
    """Insert `spans` in one transaction and return how many were refused; one that is there already is left as it is.

    One prepared statement for the batch, a COPY on Postgres: the ORM's ``bulk_create`` costs about four times as much here.
    """
    statement = f"{prepared.insert_sql(connection.vendor, Span, _COLUMNS, 1)} ON CONFLICT DO NOTHING"
    as_stored, slow_sec = connection.ops.adapt_datetimefield_value, settings.HUB.trace_slow_sec
    rows = [row for span in spans if (row := _row_or_none(span, as_stored, slow_sec)) is not None]
    try:
        with transaction.atomic(), connection.wrap_database_errors, connection.cursor() as cursor:
            if connection.vendor == "postgresql" and len(rows) >= WORTH_A_COPY:
                _copy(cursor, rows)
            else:
                cursor.executemany(statement, rows)
    except (DataError, IntegrityError):
        return len(spans) - _write_one_by_one(statement, rows)
    return len(spans) - len(rows)


def _copy(cursor: Any, rows: Sequence[tuple[Any, ...]]) -> None:
    """Copy rows into the table; one that is there already is an `IntegrityError`."""
    columns = ", ".join(connection.ops.quote_name(name) for name in _COLUMNS)
    with cursor.copy(f"COPY {Span._meta.db_table} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _write_one_by_one(statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert what the database takes of a batch that it refused as a whole; returns how many that was."""
    taken = 0
    for row in rows:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement, row)
            taken += 1
        except (DataError, IntegrityError) as exc:
            log.warning("a span was refused by the database", extra={"trace_id": row[0], "error": type(exc).__name__})
    return taken


def _row_or_none(span: TraceSpan, as_stored: Callable[[datetime], Any], slow_sec: float) -> tuple[Any, ...] | None:
    try:
        return _row(span, as_stored, slow_sec)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:  # one that no table takes takes no others with it
        log.warning("a span cannot be stored", extra={"trace_id": span.trace_id, "error": type(exc).__name__})
        return None


def _row(span: TraceSpan, as_stored: Callable[[datetime], Any], slow_sec: float) -> tuple[Any, ...]:
    start = span.start if isinstance(span.start, datetime) else datetime.now(UTC)
    end = span.end if isinstance(span.end, datetime) else start
    return (
        span.trace_id,
        span.span_id,
        span.parent_span_id,
        storable(span.span_name),
        storable(span.service_name),
        span.kind,
        as_stored(start),
        (end - start) // _MICROSECOND,
        span.status,
        storable(span.status_message),
        storable(str(span.attributes.get(conventions.CORRELATION_ID, "")))[:128],
        is_worth_keeping(span, slow_sec=slow_sec),
        _json(span.attributes),
        _json(span.links),
        _json(span.events),
    )


def is_worth_keeping(span: TraceSpan, *, slow_sec: float) -> bool:
    """Tell whether a trace with this span is kept when others are thinned out: failed, slow or marked."""
    return span.status == "error" or span.duration_sec >= slow_sec or bool(span.attributes.get(conventions.KEEP))


def _json(value: Any) -> str:
    """Return `value` as JSON that ``jsonb`` takes: without NUL and lone surrogates."""
    if not value:
        return "[]" if isinstance(value, list | tuple) else "{}"
    text = storable(_as_json(value))
    return _NUL.sub(lambda found: f"{found[1]}\ufffd", text) if "\\u0000" in text else text


def trace(trace_id: str) -> list[TraceSpan]:
    """Return the spans of a trace, oldest first, at most 5,000; empty when there is none."""
    rows = Span.objects.filter(trace_id=trace_id).order_by("start", "id")[:MAX_SPANS_READ]
    return [_value(row) for row in rows]


def _value(row: Span) -> TraceSpan:
    return TraceSpan(
        span_name=row.name,
        service_name=row.service,
        trace_id=row.trace_id,
        span_id=row.span_id,
        parent_span_id=row.parent_span_id,
        kind=row.kind,
        start=row.start,
        end=row.start + timedelta(microseconds=row.duration_us),
        status=row.status,
        status_message=row.status_message,
        attributes=row.attributes,
        links=row.links,
        events=row.events,
    )
