"""Counters, gauges and histograms of the whole fleet.

A call costs a few microseconds: it adds to a dict of this process, which goes to Redis once a second in one round
trip. The counts there are exact: a batch carries a number, and one that arrived but whose answer was lost is not
added again. While Redis is away it waits in the process. Nothing in here raises; what is malformed is dropped and logged.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from uuid import uuid4

import redis
from django.conf import settings

from hub.telemetry import metric_store, tracing
from hub.telemetry.background import Ticker
from hub.telemetry.secrets import redactor
from hub.telemetry.series import Batch
from hub.telemetry.values import MAX_LABEL_LENGTH, Metric

log = logging.getLogger(__name__)
INTERVAL_SEC = 1.0


@lru_cache(maxsize=4_096)
def _label(name: str, text: str) -> str:
    """Return a label's value as it may be shown, cut to what is allowed."""
    clean: str = redactor().value(text, key=name)
    return clean[:MAX_LABEL_LENGTH]


class _Aggregator:
    def __init__(self) -> None:
        self.lost: Counter[str] = Counter()
        self._spans: Counter[tuple[str, str]] = Counter()
        # In the last turn: what the others write and lose at the end of the process is counted too.
        self._ticker = Ticker("hub-metrics", self._send, interval_sec=INTERVAL_SEC, forget=self._forget, turn=2)
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._batch = Batch()
        self._sealed: list[dict[str, Any]] = []
        self._sender = uuid4().hex
        self._number = 0

    def _forget(self) -> None:
        """Begin anew in a forked child: what its parent counted is the parent's to send."""
        self._begin()
        self._spans = Counter(tracing.counts())

    def add(self, kind: str, name: str, value: float, labels: Mapping[str, Any]) -> None:
        if is_off():
            return
        try:
            texts = {label: _label(label, str(text)) for label, text in labels.items()}
            Metric(name, kind, value, texts)
            exemplar = tracing.trace_id() if kind == "histogram" else None
            with self._lock:
                self._add(kind, name, value, texts, exemplar)
            self._ticker.ensure_running()
        except Exception:
            # The edge of the observer: a wrong metric must not fail the work it counts.
            self.lost["refused"] += 1
            log.warning("a metric was refused", extra={"metric": str(name)[:80]}, exc_info=True)

    def _add(self, kind: str, name: str, value: float, labels: dict[str, str], exemplar: str | None) -> None:
        if kind == "counter":
            self._batch.increment(name, value, labels)
        elif kind == "gauge":
            self._batch.set_gauge(name, value, labels)
        else:
            self._batch.observe(name, value, labels, exemplar=exemplar)

    def flush(self) -> None:
        self._ticker.work_now()

    def _send(self) -> None:
        """Send what is sealed, then what was gathered meanwhile: while Redis is away that is one batch that grows by new series only."""
        if self._deliver():
            self._seal()
            self._deliver()

    def _deliver(self) -> bool:
        if not self._sealed:
            return True
        try:
            metric_store.add(self._sender, self._number, self._sealed)
        except redis.RedisError as exc:
            log.warning("metrics could not be written yet", extra={"error": type(exc).__name__})
            return False
        self._sealed = []
        return True

    def _count_spans(self) -> None:
        """Count what the tracer wrote and lost since the last time: it cannot count itself, being below this module."""
        for (outcome, place), number in tracing.counts().items():
            if grown := number - self._spans[outcome, place]:
                self._spans[outcome, place] = number
                self._batch.increment("hub_spans_total", grown, {"outcome": outcome, "place": place})

    def _seal(self) -> None:
        """Close the current batch under a number of its own: it never changes again, so it can be sent twice."""
        with self._lock:
            self._count_spans()
            batch, self._batch = self._batch, Batch()
        self._number += 1
        self._sealed = batch.samples()


_aggregator = _Aggregator()


def increment(name: str, value: float = 1, /, **labels: Any) -> None:
    """Add `value` (not negative) to a counter."""
    _aggregator.add("counter", name, value, labels)


def observe(name: str, value: float, /, **labels: Any) -> None:
    """Count `value` in a histogram; a name ending in ``_seconds`` or ``_bytes`` chooses the buckets."""
    _aggregator.add("histogram", name, value, labels)


def set_gauge(name: str, value: float, /, **labels: Any) -> None:
    """Set a gauge; of several processes the last one wins."""
    _aggregator.add("gauge", name, value, labels)


def add(sample: Metric) -> None:
    """Count a sample."""
    _aggregator.add(sample.metric_type, sample.metric_name, sample.value, sample.labels)


def is_off() -> bool:
    """Tell whether the deployment does without traces and metrics."""
    return not settings.HUB.telemetry_enabled


def flush() -> None:
    """Send what this process gathered now, in the calling thread."""
    _aggregator.flush()
