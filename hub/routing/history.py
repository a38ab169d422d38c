"""Write down how requests ended; a request never fails because its record could not be written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from hub import prepared, pruning
from hub.circuits import history as circuit_history
from hub.routing.endings import Ending
from hub.routing.models import RoutedRequest
from hub.telemetry import committed, metrics

log = logging.getLogger(__name__)


def record(endings: Sequence[Ending], *, breaker_moved: bool = False) -> None:
    """Insert the rows of the history with their counts and spans in one transaction, and the transitions of breakers caused."""
    rows = [ending.row for ending in endings]
    counts = [count for ending in endings for count in ending.counts]
    spans = [span for ending in endings for span in ending.spans]
    try:
        with transaction.atomic():
            prepared.insert(rows)
            committed.book(counts, spans=spans)
        if breaker_moved:
            circuit_history.record_transitions()
    except DatabaseError:
        # The edge of the observer: the answer is worth more than its record.
        log.exception("requests could not be recorded", extra={"count": len(rows)})
        metrics.increment("hub_request_records_lost_total", len(rows))
        committed.without_record(counts, spans=spans)


def expired() -> pruning.Expired:
    """Return the requests beyond their retention."""
    before = timezone.now() - timedelta(days=settings.HUB.request_retention_days)
    return {"requests": RoutedRequest.objects.filter(created_at__lt=before).order_by("created_at")}


def prune() -> int:
    """Delete requests beyond their retention; return how many."""
    return sum(pruning.delete_all(expired()).values())
