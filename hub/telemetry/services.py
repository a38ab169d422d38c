"""What the outside may record and ask: the functions behind the Python face, the tasks and the HTTP API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hub.errors import ErrorCode, IntegrationError
from hub.json_values import check_json
from hub.telemetry import buckets, committed, context, metric_store, metrics, store, tracing
from hub.telemetry.values import MAX_SPAN_BYTES, Metric, TraceSpan, check_labels, check_metric_name, check_parts

MAX_FUTURE = timedelta(minutes=5)
PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


def span_from(values: Mapping[str, Any]) -> TraceSpan:
    """Return the span that a message describes; E11901 or E11903 for missing or unknown fields."""
    _check_fields(values, TraceSpan, required={"span_name"})
    return TraceSpan(**values)


def metric_from(values: Mapping[str, Any]) -> Metric:
    """Return the metric sample that a message describes; E11901 or E11903 for missing or unknown fields."""
    _check_fields(values, Metric, required={"metric_name", "metric_type", "value"})
    return Metric(**values)


def _check_fields(values: Mapping[str, Any], of: type[TraceSpan] | type[Metric], *, required: set[str]) -> None:
    known = {field.name for field in fields(of)}
    if unknown := sorted(set(values) - known):
        raise IntegrationError(ErrorCode.ARGUMENT_UNKNOWN, f"{of.__name__} has no {unknown[0][:80]!r}")
    if missing := sorted(required - set(values)):
        raise IntegrationError(ErrorCode.ARGUMENT_MISSING, f"{of.__name__} needs {missing[0]!r}")


def record_span(span: TraceSpan) -> None:
    """Keep a span; without times it is taken as ending now.

    Errors: E11509 for links or events of another shape, E11905 for values that are not JSON, E11503 when it lies more than
    five minutes in the future, E11902 for what is no span.
    """
    if not isinstance(span, TraceSpan):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"a span must be a TraceSpan, not {type(span).__name__}")
    check_parts(span)
    check_json([dict(span.attributes), list(span.links), list(span.events)], what="a span", max_bytes=MAX_SPAN_BYTES)
    now = datetime.now(UTC)
    end = span.end if isinstance(span.end, datetime) else now
    start = span.start if isinstance(span.start, datetime) else end
    if max(start, end) > now + MAX_FUTURE:
        raise IntegrationError(ErrorCode.SPAN_TIMES_INVALID, f"span {span.span_name[:80]!r} lies in the future")
    tracing.record(replace(span, start=start, end=max(start, end)))


def get_trace(trace_id: str) -> list[TraceSpan]:
    """Return the spans of a trace, oldest first; empty when no such trace is known."""
    wanted = trace_id.replace("-", "").lower() if len(trace_id) == 36 else trace_id
    if not context.is_trace_id(wanted):
        return []
    tracing.flush()
    return store.trace(wanted)


def record_metric(metric: Metric) -> None:
    """Add a sample; E11521 when the name has another type already, E11902 for what is no metric."""
    if not isinstance(metric, Metric):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"a sample must be a Metric, not {type(metric).__name__}")
    metric_store.declare(metric.metric_name, metric.metric_type)
    record = {"counter": metrics.increment, "gauge": metrics.set_gauge, "histogram": metrics.observe}[metric.metric_type]
    record(metric.metric_name, metric.value, **metric.labels)


def declare_metric(name: str, kind: str, description: str = "") -> None:
    """Fix the type of a metric (E11504, E11521) and say what it means."""
    check_metric_name(name)
    metric_store.declare(name, kind, description)


def metric_summary(name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a metric over all series that carry `labels`: ``name, type, count, sum, value, p50, p95, p99``.

    `value` is the total of a counter, and of a gauge the sum of the latest of each series; percentiles are those of a
    histogram. What was never recorded has type None and count 0.
    """
    check_metric_name(name)
    check_labels(labels or {})
    metrics.flush()
    committed.move_if_possible()
    wanted = (labels or {}).items()
    series = [one for one in metric_store.read([name])[name] if wanted <= one.labels.items()]
    kind = metric_store.types().get(name)
    if kind == "histogram":
        return {"name": name, "type": kind, **_distribution(name, series)}
    value = sum(one.value for one in series)
    return {"name": name, "type": kind, "count": len(series), "sum": value, "value": value, **dict.fromkeys(PERCENTILES)}


def _distribution(name: str, series: list[metric_store.Series]) -> dict[str, Any]:
    bounds = buckets.bounds_for(name)
    counts = [sum(one.buckets.get(index, 0) for one in series) for index in range(len(bounds) + 1)]
    total = sum(one.value for one in series)
    shares = {key: buckets.percentile(share, counts, bounds) for key, share in PERCENTILES.items()}
    return {"count": sum(counts), "sum": total, "value": None, **shares}
