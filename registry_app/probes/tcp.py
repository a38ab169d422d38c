"""The TCP probe: a connection can be opened."""

from __future__ import annotations

import socket
import time

from registry_app import addresses
from registry_app.checks import HealthCheck
from registry_app.deadline import watched
from registry_app.endpoints import parse_host_port
from registry_app.rules import Finding, Verdict


def probe(check: HealthCheck) -> Finding:
    """Open a connection and close it again."""
    host, port = parse_host_port(check.endpoint, scheme="tcp")
    try:
        connect(host, port, timeout_sec=check.timeout_sec).close()
    except TimeoutError:
        return Finding(verdict=Verdict.BAD, reason=f"no connection within {check.timeout_sec:g} s")
    except OSError as exc:
        return Finding(verdict=Verdict.BAD, reason=f"no connection: {exc.strerror or exc}")
    return Finding(verdict=Verdict.GOOD, reason="the port is open")


def connect(host: str, port: int, *, timeout_sec: float) -> socket.socket:
    """Connect to the first allowed address that answers, all of them within the time; raises OSError, and E1108x if refused."""
    give_up_at = time.monotonic() + timeout_sec
    failure: OSError = TimeoutError("no address could be tried in time")
    for address in addresses.resolve(host, port, addresses.current_policy()):
        left = give_up_at - time.monotonic()
        if left <= 0:
            break
        try:
            return watched(socket.create_connection((address, port), left))
        except OSError as exc:
            failure = exc
    raise failure
