"""Write down how requests ended; a request never fails because its record could not be written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from hub.circuits import history as circuit_history
from hub.routing.endings import Ending
from hub.routing.models import RoutedRequest
from hub.telemetry import committed, metrics

log = logging.getLogger(__name__)
PRUNE_BATCH = 5_000


def record(endings: Sequence[Ending], *, breaker_moved: bool = False) -> None:
    """Insert the rows of the history with their counts and spans in one transaction, and the transitions of breakers caused."""
    rows = [ending.row for ending in endings]
    counts = [count for ending in endings for count in ending.counts]
    spans = [span for ending in endings for span in ending.spans]
    try:
        with transaction.atomic():
            RoutedRequest.objects.bulk_create(rows)
            committed.book(counts, spans=spans)
        if breaker_moved:
            circuit_history.record_transitions()
    except DatabaseError:
        # The edge of the observer: the answer is worth more than its record.
        log.exception("requests could not be recorded", extra={"count": len(rows)})
        metrics.increment("hub_request_records_lost_total", len(rows))
        committed.without_record(counts, spans=spans)


def prune() -> int:
    """Delete what is older than the retention, in batches that do not hold up writers; return how many rows."""
    before = timezone.now() - timedelta(days=settings.HUB.request_retention_days)
    deleted = 0
    while True:
        ids = list(RoutedRequest.objects.filter(created_at__lt=before).values_list("pk", flat=True)[:PRUNE_BATCH])
        deleted += RoutedRequest.objects.filter(pk__in=ids).delete()[0]
        if len(ids) < PRUNE_BATCH:
            return deleted
