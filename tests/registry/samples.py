"""Descriptions of services that many tests start from."""

from hub import database_clock
from registry_app import health, prober, services
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.models import Service
from registry_app.rules import Finding, Verdict
from registry_app.values import ServiceInfo


def http_check(endpoint="/health", **options):
    return HealthCheck(HealthCheckType.HTTP, endpoint, **options)


def describe(name="L02_runtime", endpoint="http://127.0.0.1:8002", version="0.1.0", check=None, **options):
    return ServiceInfo.create(name, version, endpoint, check, **options)


def register(name="L02_runtime", endpoint="http://127.0.0.1:8002", *, status=None, owner=None, generation=0, **options):
    """Register an instance and, if a status is given, put it there as if its checks had."""
    info = services.register(describe(name, endpoint, **options), owner=owner, generation=generation)
    if status:
        Service.objects.filter(service_id=info.service_id).update(status=status)
    return info


def row_of(info):
    return Service.objects.get(service_id=info.service_id)


GOOD = {"probe": Finding(verdict=Verdict.GOOD, reason="HTTP 200", took_ms=4.2)}
BAD = {"probe": Finding(verdict=Verdict.BAD, reason="connection refused", took_ms=1.0)}


def say(info, *found, at=None):
    for witnesses in found:
        health.record(info.service_id, witnesses, at=at or database_clock.moment())
    return row_of(info)


def run_due():
    """Look at what is due, one after the other; return how many there were."""
    jobs = prober.claim_due(100, now=database_clock.moment())
    for job in jobs:
        prober.keep(job, prober.look(job))
    return len(jobs)
