"""A collector for OpenTelemetry's spans: OTLP over HTTP, read with the official protobuf, one JSON line a span.

python -m tests.telemetry.collector PORT FILE
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse


class Collector(BaseHTTPRequestHandler):
    """Takes ``POST /v1/traces`` and nothing else."""

    out: Path

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/v1/traces" or self.headers["Content-Type"] != "application/x-protobuf":
            self.send_error(404)
            return
        lines = "".join(json.dumps(one) + "\n" for one in spans(ExportTraceServiceRequest.FromString(body)))
        with self.out.open("a") as file:
            file.write(lines)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(ExportTraceServiceResponse().SerializeToString())

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


def spans(request: ExportTraceServiceRequest) -> Iterator[dict[str, Any]]:
    """Yield what a request says of each span."""
    for resource in request.resource_spans:
        service = next(pair.value.string_value for pair in resource.resource.attributes if pair.key == "service.name")
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            yield {
                "span_name": span.name,
                "service_name": service,
                "trace_id": span.trace_id.hex(),
                "span_id": span.span_id.hex(),
                "parent_span_id": span.parent_span_id.hex(),
                "start": span.start_time_unix_nano / 1e9,
                "end": span.end_time_unix_nano / 1e9,
                "links": [f"00-{link.trace_id.hex()}-{link.span_id.hex()}-01" for link in span.links],
            }


if __name__ == "__main__":
    Collector.out = Path(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Collector).serve_forever()
