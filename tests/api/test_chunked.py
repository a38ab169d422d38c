"""Bodies that come in chunks, without a length: as whole as any other, and as bounded."""

from __future__ import annotations

import io
import json

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import RequestFactory
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from hub.telemetry import receiver, tracing
from hub.telemetry.models import Span
from hub.telemetry.otel import to_otel
from hub.telemetry.values import TraceSpan
from hub.wsgi import application
from registry_app import services
from registry_app.values import ServiceInfo

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _connection_of_the_test():
    """As Django's own client does: the end of a request would close the connection that holds the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def send_chunked(path, body, content_type="application/json", **headers):
    """Send the body as a server does that has put chunks together: no length, and the stream ends where the body does."""
    environ = RequestFactory(headers=headers).post(path, content_type=content_type).environ
    environ |= {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    environ.pop("CONTENT_LENGTH", None)
    said = []

    answer = b"".join(application(environ, lambda status, *_: said.append(status)))

    return int(said[0].split()[0]), answer


def call(caller, path, body):
    status, answer = send_chunked(f"/api/v1{path}", body, Authorization=f"Bearer {caller.text}")
    return status, json.loads(answer)


def test_a_fence_in_a_body_of_chunks_holds(caller):
    info = ServiceInfo.create("L05_planning", "1.0.0", "http://127.0.0.1:9")
    service_id = services.register(info, owner="pod-2", generation=2).service_id

    status, told = call(caller, f"/services/{service_id}/deregister", b'{"owner": "pod-1", "generation": 1}')

    assert (status, told["code"]) == (403, "E11083"), told
    assert services.live_row(service_id).owner == "pod-2"


def test_a_body_of_chunks_that_is_too_large_is_refused(caller):
    status, told = call(caller, "/sagas", b" " * 9_000_000)

    assert (status, told["code"]) == (413, "E11960")


def test_spans_that_come_in_chunks_are_taken():
    span = TraceSpan(span_name="of a layer", service_name="L05_planning")

    status, _ = send_chunked("/v1/traces", encode_spans([to_otel(span)]).SerializeToString(), receiver.PROTOBUF)

    tracing.flush()
    assert (status, Span.objects.get(span_id=span.span_id).name) == (200, "of a layer")
