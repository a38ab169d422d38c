"""Real probes: each connects to what it judges, within a hard limit, and says what it found."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from hub.errors import IntegrationError
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.probes import celery_queue, grpc_server, http, redis_server, tcp
from registry_app.rules import Finding, Verdict

log = logging.getLogger(__name__)

Probe = Callable[[HealthCheck], Finding]
PROBES: Mapping[HealthCheckType, Probe] = {
    HealthCheckType.HTTP: http.probe,
    HealthCheckType.TCP: tcp.probe,
    HealthCheckType.GRPC: grpc_server.probe,
    HealthCheckType.REDIS: redis_server.probe,
    HealthCheckType.CELERY: celery_queue.probe,
}


def run(check: HealthCheck) -> dict[str, Finding]:
    """Probe once and return what each witness found; it never raises, and ends about when ``check.timeout_sec`` is over."""
    started = time.monotonic()
    finding = _ask(PROBES[check.check_type], check)
    found = {"probe": _timed(finding, check, time.monotonic() - started)}
    if check.check_type is HealthCheckType.CELERY:
        found["queue"] = _ask(celery_queue.probe_age, check)
    return found


def _ask(probe: Probe, check: HealthCheck) -> Finding:
    try:
        return probe(check)
    except IntegrationError as exc:
        return Finding(verdict=Verdict.BAD, reason=f"{exc.code}: {exc.message}")
    except Exception as exc:
        # The edge of the prober: a fault in one probe is a bad finding, it must not end the thread.
        log.exception("a probe broke", extra={"check_type": check.check_type.value})
        return Finding(verdict=Verdict.BAD, reason=f"the probe broke: {type(exc).__name__}")


def _timed(finding: Finding, check: HealthCheck, took_sec: float) -> Finding:
    timed = replace(finding, took_ms=took_sec * 1000)
    limit = check.degraded_after_sec
    if limit is None or finding.verdict is not Verdict.GOOD or took_sec <= limit:
        return timed
    return replace(timed, verdict=Verdict.SLOW, reason=f"took {took_sec * 1000:.0f} ms, more than {limit * 1000:.0f} ms ({finding.reason})")
