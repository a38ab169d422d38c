"""What machines read and write here: ``/metrics`` for Prometheus, ``/v1/traces`` for OpenTelemetry's SDKs."""

from __future__ import annotations

import gzip
import hmac
import io
import ipaddress
import zlib

import redis
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from hub.errors import ErrorCode, IntegrationError
from hub.telemetry import exposition, metrics, problems, receiver, tracing

MAX_BODY_BYTES = 4_000_000
MAX_EXPANDED_BYTES = 16_000_000
OF_A_PROXY = ("forwarded", "x-forwarded-", "x-real-ip", "via")
"""How the names of headers begin that a proxy sets."""


@require_GET
def metrics_page(request: HttpRequest) -> HttpResponse:
    """Answer with the metrics of the fleet; E11580 without the token, E11941 while Redis is away."""
    try:
        _check_reader(request)
        metrics.flush()
        body, content_type = exposition.render(request.headers.get("Accept", ""))
    except redis.RedisError as exc:
        return problems.answer(IntegrationError(ErrorCode.BROKER_UNAVAILABLE, f"metrics cannot be read: {type(exc).__name__}"))
    except IntegrationError as exc:
        return problems.answer(exc)
    return HttpResponse(body, content_type=content_type, headers={"Cache-Control": "no-store"})


@csrf_exempt
@require_POST
def receive_traces(request: HttpRequest) -> HttpResponse:
    """Take spans over OTLP/HTTP; the answer says how many were refused, and 503 that they are to be sent again."""
    try:
        _check_reader(request)
        sent = receiver.parse(_body(request), request.content_type or "")
        spans, refused = receiver.spans_of(sent)
        refused += len(spans) - tracing.record_received(spans)
    except IntegrationError as exc:
        return problems.answer(exc)
    return _accepted(refused, as_json=request.content_type == receiver.JSON)


def _accepted(refused: int, *, as_json: bool) -> HttpResponse:
    if as_json:
        return JsonResponse({"partialSuccess": {"rejectedSpans": str(refused)}} if refused else {})
    answer = ExportTraceServiceResponse()
    if refused:
        answer.partial_success.rejected_spans = refused
        answer.partial_success.error_message = "malformed or too large"
    return HttpResponse(answer.SerializeToString(), content_type=receiver.PROTOBUF)


def _body(request: HttpRequest) -> bytes:
    """Return the body unpacked; E11960 when it is too large, E11963 when it expands to too much, E11910 for a packing that is not gzip."""
    packing = request.headers.get("Content-Encoding", "").strip().lower()
    if packing not in ("", "identity", "gzip"):
        raise IntegrationError(ErrorCode.CONTENT_TYPE_UNSUPPORTED, "Content-Encoding must be gzip, if any")
    if int(request.headers.get("Content-Length") or 0) > MAX_BODY_BYTES:
        raise IntegrationError(ErrorCode.MESSAGE_TOO_LARGE, f"the body has more than {MAX_BODY_BYTES} bytes")
    packed = request.read(MAX_BODY_BYTES + 1)
    if len(packed) > MAX_BODY_BYTES:
        raise IntegrationError(ErrorCode.MESSAGE_TOO_LARGE, f"the body has more than {MAX_BODY_BYTES} bytes")
    return _unpacked(packed) if packing == "gzip" else packed


def _unpacked(packed: bytes) -> bytes:
    try:
        body = gzip.GzipFile(fileobj=io.BytesIO(packed)).read(MAX_EXPANDED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as exc:
        raise IntegrationError(ErrorCode.JSON_MALFORMED, "the body is not gzip") from exc
    if len(body) > MAX_EXPANDED_BYTES:
        raise IntegrationError(ErrorCode.EXPANDS_TOO_MUCH, f"the body expands to more than {MAX_EXPANDED_BYTES} bytes")
    return body


def _check_reader(request: HttpRequest) -> None:
    """Let in who has the token; where none is set, who comes from this machine and from no proxy on it."""
    token = settings.HUB.telemetry_token
    if token:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode("utf-8", "replace")
        allowed = hmac.compare_digest(given, token.encode())
    else:
        through_a_proxy = any(name.lower().startswith(OF_A_PROXY) for name in request.headers)
        allowed = _is_loopback(request.META.get("REMOTE_ADDR", "")) and not through_a_proxy
    if not allowed:
        raise IntegrationError(
            ErrorCode.METRICS_NOT_PERMITTED, "no permission", recovery_suggestion="send HUB_TELEMETRY_TOKEN as a bearer token"
        )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
