"""`Observability`: the async face of this room, as layers know it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.aio import in_thread
from hub.telemetry import metrics, services, tracing
from hub.telemetry.values import Metric, TraceSpan


class Instrument:
    """A metric by name; the call that fits its type records."""

    def __init__(self, name: str) -> None:
        self.name = name


class Counter(Instrument):
    """A number that only grows."""

    def add(self, value: float = 1, labels: Mapping[str, str] | None = None) -> None:
        """Add `value`, which is not negative."""
        metrics.increment(self.name, value, **(labels or {}))

    increment = add


class Gauge(Instrument):
    """A number that goes up and down."""

    def set(self, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Replace the value."""
        metrics.set_gauge(self.name, value, **(labels or {}))


class Histogram(Instrument):
    """A distribution of values."""

    def observe(self, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Count one value."""
        metrics.observe(self.name, value, **(labels or {}))

    record = observe


class Observability:
    """Record spans and metrics, and read them back."""

    def __init__(self, output_file: str | None = None) -> None:
        if output_file:
            tracing.write_to_file(output_file)

    async def record_span(self, span: TraceSpan) -> None:
        """Keep a span; one without times ends now."""
        services.record_span(span)

    async def record_metric(self, metric: Metric) -> None:
        """Add a sample to a counter, gauge or histogram; E11521 when the name has another type."""
        await in_thread(services.record_metric, metric)

    async def get_trace(self, trace_id: str) -> list[TraceSpan]:
        """Return the spans of a trace, oldest first; empty when none is known."""
        return await in_thread(services.get_trace, trace_id)

    async def create_counter(self, name: str, description: str = "") -> Counter:
        """Declare a counter for the fleet."""
        await in_thread(services.declare_metric, name, "counter", description)
        return Counter(name)

    async def create_gauge(self, name: str, description: str = "") -> Gauge:
        """Declare a gauge for the fleet."""
        await in_thread(services.declare_metric, name, "gauge", description)
        return Gauge(name)

    async def create_histogram(self, name: str, description: str = "") -> Histogram:
        """Declare a histogram for the fleet; its name's end gives the unit (``_seconds``, ``_bytes``)."""
        await in_thread(services.declare_metric, name, "histogram", description)
        return Histogram(name)

    async def get_metric_summary(self, name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return ``name, type, count, sum, value, p50, p95, p99`` of a metric."""
        return await in_thread(services.metric_summary, name, labels)

    async def flush(self) -> None:
        """Write what this process gathered now."""
        await in_thread(tracing.flush)
        await in_thread(metrics.flush)
