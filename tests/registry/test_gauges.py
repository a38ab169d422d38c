"""What `/metrics` says of the registry."""

from datetime import timedelta

import pytest
from django.utils import timezone

from hub.redis_client import client
from hub.telemetry import metric_store, metrics
from registry_app import gauges, prober
from tests.registry.samples import register

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_worker")]


def told(name, *, now=None):
    gauges.tell(now=now or timezone.now())
    metrics.flush()
    return {one.labels.get("status", ""): one.value for one in metric_store.read([name])[name]}


def test_a_redis_that_was_started_anew_hears_how_the_services_stand():
    register(status="unhealthy")
    register("two", status="healthy")
    metrics.flush()
    client().flushdb()

    assert told("hub_services") == {"healthy": 1, "degraded": 0, "unhealthy": 1, "unknown": 0}


def test_the_lag_is_that_of_who_waits_longest_and_over_when_nobody_waits():
    register()
    later = timezone.now() + timedelta(seconds=60)

    assert told("hub_registry_probe_lag_seconds", now=later)[""] == pytest.approx(60, abs=2)

    prober.claim_due(10, now=later)

    assert told("hub_registry_probe_lag_seconds", now=later) == {"": 0}
