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
    try:
        connect(check).close()
    except TimeoutError:
        return Finding(verdict=Verdict.BAD, reason=f"no connection within {check.timeout_sec:g} s")
    except OSError as exc:
        return Finding(verdict=Verdict.BAD, reason=f"no connection: {exc.strerror or exc}")
    return Finding(verdict=Verdict.GOOD, reason="the port is open")


def connect(check: HealthCheck) -> socket.socket:
    """Connect to the first address that answers, each within its share of the time; raises OSError, and E1108x if one is refused."""
    host, port = parse_host_port(check.endpoint.removesuffix("/0"), scheme=check.check_type.value)
    give_up_at = time.monotonic() + check.timeout_sec
    failure: OSError = TimeoutError("no address could be tried in time")
    found = addresses.resolve(host, port, addresses.policy_for(check), timeout_sec=check.timeout_sec)
    for number, address in enumerate(found):
        left = give_up_at - time.monotonic()
        if left <= 0:
            break
        try:
            return watched(socket.create_connection((address, port), left / (len(found) - number)))
        except OSError as exc:
            failure = exc
    raise failure
