"""Spans out to a collector, and in from any layer's SDK: OTLP over HTTP."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from hub.errors import ErrorCode, IntegrationError
from hub.telemetry.otel import to_otel
from hub.telemetry.values import TraceSpan

TIMEOUT_SEC = 5
"""For a batch with all its tries, unless ``OTEL_EXPORTER_OTLP_TIMEOUT`` says otherwise: the end of a process waits for one."""
log = logging.getLogger(__name__)


class OtlpSink:
    """Send spans to the collector that ``OTEL_EXPORTER_OTLP_*`` names; E11540 when it does not take them."""

    def __init__(self) -> None:
        is_set = any(f"OTEL_EXPORTER_OTLP_{name}" in os.environ for name in ("TIMEOUT", "TRACES_TIMEOUT"))
        self._exporter = OTLPSpanExporter(timeout=None if is_set else TIMEOUT_SEC)

    def __call__(self, spans: Sequence[TraceSpan]) -> int:
        """Send `spans` and return how many could not be; the exporter's own time limit and retries apply."""
        converted = list(_converted(spans))
        if self._exporter.export(converted) is not SpanExportResult.SUCCESS:
            raise IntegrationError(ErrorCode.SINK_UNAVAILABLE, f"the collector did not take {len(spans)} spans")
        return len(spans) - len(converted)


def _converted(spans: Sequence[TraceSpan]) -> Iterator[ReadableSpan]:
    for span in spans:
        try:
            yield to_otel(span)
        except (TypeError, ValueError, KeyError, OverflowError) as exc:  # one that cannot be sent takes no others with it
            log.warning("a span cannot be sent on", extra={"trace_id": span.trace_id, "error": type(exc).__name__})
