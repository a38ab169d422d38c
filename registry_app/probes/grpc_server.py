"""The gRPC probe: the standard health service (``grpc.health.v1.Health/Check``) over a real channel."""

from __future__ import annotations

from typing import Any

from registry_app import addresses
from registry_app.checks import HealthCheck
from registry_app.endpoints import bracketed, parse_host_port
from registry_app.rules import Finding, Verdict


def probe(check: HealthCheck) -> Finding:
    """Ask the health service; ``SERVING`` is well, anything else is not."""
    # Imported here: gRPC costs its process 15 MB, and only who probes a gRPC service needs it.
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with _channel(grpc, check) as channel:
        question = health_pb2.HealthCheckRequest(service=check.grpc_service)
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(question, timeout=check.timeout_sec)
        except grpc.RpcError as exc:
            return Finding(verdict=Verdict.BAD, reason=_why(exc, check))
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return Finding(verdict=Verdict.GOOD if status == "SERVING" else Verdict.BAD, reason=status)


def _channel(grpc: Any, check: HealthCheck) -> Any:
    host, port = parse_host_port(check.endpoint, scheme="grpc")
    address = addresses.resolve(host, port, addresses.current_policy(), timeout_sec=check.timeout_sec)[0]
    options = [("grpc.enable_http_proxy", 0), ("grpc.default_authority", f"{bracketed(host)}:{port}")]
    return grpc.insecure_channel(f"{bracketed(address)}:{port}", options=options)


def _why(exc: Any, check: HealthCheck) -> str:
    code = exc.code().name
    return {
        "UNIMPLEMENTED": "the server has no health service (grpc.health.v1)",
        "NOT_FOUND": f"the server knows no service {check.grpc_service!r}",
        "DEADLINE_EXCEEDED": f"no answer within {check.timeout_sec:g} s",
    }.get(code, f"{code}: {exc.details()}"[:200])
