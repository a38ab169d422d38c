"""Write down how requests ended; a request never fails because its record could not be written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import timedelta
from functools import cache

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from hub.circuits import history as circuit_history
from hub.routing.models import RoutedRequest
from hub.telemetry import metrics

log = logging.getLogger(__name__)
PRUNE_BATCH = 5_000
_FIELDS = [field for field in RoutedRequest._meta.concrete_fields if not field.primary_key]


def record(rows: Sequence[RoutedRequest], *, breaker_moved: bool = False) -> None:
    """Insert rows of the history, all or none, and the transitions of breakers that these requests caused."""
    try:
        _insert(rows)
        if breaker_moved:
            circuit_history.record_transitions()
    except DatabaseError:
        # The edge of the observer: the answer is worth more than its record.
        log.exception("requests could not be recorded", extra={"count": len(rows)})
        metrics.increment("hub_request_records_lost_total", len(rows))


def _insert(rows: Sequence[RoutedRequest]) -> None:
    """Insert by one prepared statement: ``bulk_create`` and a transaction around a single row cost twice as much."""
    # One statement is whole by itself; within a transaction a failure must not spoil what is around it.
    is_whole = len(rows) == 1 and not connection.in_atomic_block
    with nullcontext() if is_whole else transaction.atomic(), connection.cursor() as cursor:
        for row in rows:
            cursor.execute(_statement(), [field.get_db_prep_save(getattr(row, field.attname), connection) for field in _FIELDS])


@cache
def _statement() -> str:
    columns = ", ".join(connection.ops.quote_name(str(field.column)) for field in _FIELDS)
    return f"INSERT INTO {RoutedRequest._meta.db_table} ({columns}) VALUES ({', '.join(['%s'] * len(_FIELDS))})"  # noqa: S608


def prune() -> int:
    """Delete what is older than the retention, in batches that do not hold up writers; return how many rows."""
    before = timezone.now() - timedelta(days=settings.HUB.request_retention_days)
    deleted = 0
    while True:
        ids = list(RoutedRequest.objects.filter(created_at__lt=before).values_list("pk", flat=True)[:PRUNE_BATCH])
        deleted += RoutedRequest.objects.filter(pk__in=ids).delete()[0]
        if len(ids) < PRUNE_BATCH:
            return deleted
