"""Spans out to a collector, and in from any layer's SDK: OTLP over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from hub.errors import ErrorCode, IntegrationError
from hub.telemetry.otel import to_otel
from hub.telemetry.values import TraceSpan


class OtlpSink:
    """Send spans to the collector that ``OTEL_EXPORTER_OTLP_*`` names; E11540 when it does not take them."""

    def __init__(self) -> None:
        self._exporter = OTLPSpanExporter()

    def __call__(self, spans: Sequence[TraceSpan]) -> None:
        """Send `spans`; the exporter's own time limit and retries apply."""
        if self._exporter.export([to_otel(span) for span in spans]) is not SpanExportResult.SUCCESS:
            raise IntegrationError(ErrorCode.SINK_UNAVAILABLE, f"the collector did not take {len(spans)} spans")
