"""The gRPC probe: the standard health service (``grpc.health.v1.Health/Check``) over a real channel."""

from __future__ import annotations

import time
from typing import Any

from registry_app import addresses
from registry_app.checks import HealthCheck
from registry_app.endpoints import bracketed, parse_host_port
from registry_app.rules import Finding, Verdict

NOBODY_THERE = ("UNAVAILABLE", "no answer")


def probe(check: HealthCheck) -> Finding:
    """Ask the health service; ``SERVING`` is well, anything else is not. The host's addresses share the time."""
    give_up_at = time.monotonic() + check.timeout_sec
    host, port = parse_host_port(check.endpoint, scheme="grpc")
    finding = Finding(verdict=Verdict.BAD, reason="no address could be tried in time")
    found = addresses.resolve(host, port, addresses.current_policy(), timeout_sec=check.timeout_sec)
    for number, address in enumerate(found):
        share = (give_up_at - time.monotonic()) / (len(found) - number)
        if share <= 0:
            break
        finding = _ask(check, f"{bracketed(address)}:{port}", authority=f"{bracketed(host)}:{port}", timeout_sec=share)
        if not finding.reason.startswith(NOBODY_THERE):
            break
    return finding


def _ask(check: HealthCheck, place: str, *, authority: str, timeout_sec: float) -> Finding:
    # Imported here: gRPC costs its process 15 MB, and only who probes a gRPC service needs it.
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    options = [("grpc.enable_http_proxy", 0), ("grpc.default_authority", authority)]
    with grpc.insecure_channel(place, options=options) as channel:
        question = health_pb2.HealthCheckRequest(service=check.grpc_service)
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(question, timeout=timeout_sec)
        except grpc.RpcError as exc:
            return Finding(verdict=Verdict.BAD, reason=_why(exc, check))
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return Finding(verdict=Verdict.GOOD if status == "SERVING" else Verdict.BAD, reason=status)


def _why(exc: Any, check: HealthCheck) -> str:
    code = exc.code().name
    return {
        "UNIMPLEMENTED": "the server has no health service (grpc.health.v1)",
        "NOT_FOUND": f"the server knows no service {check.grpc_service!r}",
        "DEADLINE_EXCEEDED": f"no answer within {check.timeout_sec:g} s",
    }.get(code, f"{code}: {exc.details()}"[:200])
