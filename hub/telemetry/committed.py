"""Counts and spans that are written in the transaction of what they tell of: they are there if, and only if, it is.

    with transaction.atomic():
        RoutedRequest.objects.create(...)
        committed.book([Metric("hub_requests_total", "counter", 1, {...})], spans=ended)

What a process merely remembers dies with it, and then the metrics no longer agree with the tables. Booked counts are rows
until any process moves them into the fleet's metrics, each exactly once: a mover claims rows under a batch of its own,
adds them in Redis under that name (a second time changes nothing), and deletes them. What a killed process booked or
claimed is moved by the next.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import redis
from django.db import DatabaseError, transaction
from opentelemetry.sdk.trace import ReadableSpan

from hub import prepared
from hub.telemetry import metric_store, metrics, tracing
from hub.telemetry.background import Ticker
from hub.telemetry.models import CommittedCount
from hub.telemetry.series import Batch
from hub.telemetry.values import Metric

log = logging.getLogger(__name__)
INTERVAL_SEC = 1.0
BATCH = 2_000
ABANDONED = timedelta(seconds=10)
"""A batch that was claimed so long ago and is still there belongs to a process that died."""
MARK_TTL_SEC = 600
"""So long Redis knows a batch whose rows are gone: longer than any process stands still before it adds what it has read."""

_is_due = threading.Event()


def book(samples: Sequence[Metric], *, spans: Sequence[ReadableSpan] = ()) -> None:
    """Write counters and observations, and ended spans, within the caller's transaction."""
    if metrics.is_off() or not (samples or spans):
        return
    trace_id = _trace_id(spans)
    prepared.insert([CommittedCount(samples=[_as_dict(sample, trace_id) for sample in samples])])
    tracing.write_with_caller(spans)
    transaction.on_commit(_soon, robust=True)


def without_record(samples: Iterable[Metric], *, spans: Sequence[ReadableSpan]) -> None:
    """Count and trace what could not be recorded, as everything else is: gathered in memory, written later."""
    for sample in samples:
        metrics.add(sample)
    for span in spans:
        tracing.pipeline().put(span)


def _trace_id(spans: Sequence[ReadableSpan]) -> str | None:
    return f"{spans[-1].context.trace_id:032x}" if spans else tracing.trace_id()


def _as_dict(sample: Metric, trace_id: str | None) -> dict[str, Any]:
    exemplar = trace_id if sample.metric_type == "histogram" else None
    return {
        "name": sample.metric_name,
        "kind": sample.metric_type,
        "value": sample.value,
        "labels": dict(sample.labels),
        "exemplar": exemplar,
    }


def _soon() -> None:
    _is_due.set()
    _ticker.ensure_running()


def _move_if_due() -> None:
    if _is_due.is_set():
        _is_due.clear()
        if not move_if_possible():
            _is_due.set()


def move_if_possible() -> bool:
    """Move what is booked; while the database or Redis is away it stays booked, and the answer is False."""
    try:
        move()
    except (DatabaseError, redis.RedisError) as exc:
        log.warning("counts wait to be moved", extra={"error": type(exc).__name__})
        return False
    return True


def move() -> int:
    """Move what is booked into the fleet's metrics, whoever booked it; returns how many bookings."""
    now, moved = datetime.now(UTC), 0
    for batch in _abandoned(now):
        moved += _finish(batch)
    while batch := _claim(now):
        moved += _finish(batch)
    return moved


def _claim(now: datetime) -> str:
    """Take free rows under a new name; empty when there are none, or when another process was first."""
    ids = list(CommittedCount.objects.filter(batch="").order_by("pk").values_list("pk", flat=True)[:BATCH])
    batch = uuid4().hex
    return batch if ids and CommittedCount.objects.filter(pk__in=ids, batch="").update(batch=batch, claimed_at=now) else ""


def _abandoned(now: datetime) -> list[str]:
    """Take over the batches of movers that died; of several processes that see one, the first gets it."""
    old = CommittedCount.objects.filter(claimed_at__lt=now - ABANDONED).order_by().values_list("batch", "claimed_at").distinct()
    return [batch for batch, since in old if CommittedCount.objects.filter(batch=batch, claimed_at=since).update(claimed_at=now)]


def _finish(batch: str) -> int:
    rows = CommittedCount.objects.filter(batch=batch)
    gathered, texts = Batch(), list(rows.values_list("samples", flat=True))
    for sample in (sample for samples in texts for sample in samples):
        if sample["kind"] == "counter":
            gathered.increment(sample["name"], sample["value"], sample["labels"])
        else:
            gathered.observe(sample["name"], sample["value"], sample["labels"], exemplar=sample["exemplar"])
    metric_store.add(batch, 1, gathered.samples())
    rows.delete()
    metric_store.forget_soon(batch, after_sec=MARK_TTL_SEC)
    return len(texts)


_ticker = Ticker("hub-committed-counts", _move_if_due, interval_sec=INTERVAL_SEC, forget=_is_due.clear)
