"""Tasks by which layers without this package hand over spans and metrics, and the pruning of old ones."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from hub.errors import IntegrationError
from hub.telemetry import committed, retention, services


@shared_task(name="hub.telemetry.record_span", throws=(IntegrationError,))
def record_span(**span: Any) -> None:
    """Keep a span; the arguments are those of `TraceSpan`."""
    services.record_span(services.span_from(span))


@shared_task(name="hub.telemetry.record_metric", throws=(IntegrationError,))
def record_metric(**metric: Any) -> None:
    """Add a sample to a metric; the arguments are those of `Metric`."""
    services.record_metric(services.metric_from(metric))


@shared_task(name="hub.control.move_counts", ignore_result=True)
def move_counts() -> None:
    """Move into the metrics what processes that died had counted."""
    committed.move()


@shared_task(name="hub.control.prune_spans", ignore_result=True)
def prune() -> None:
    """Delete spans beyond their retention, share and quota."""
    retention.prune()
