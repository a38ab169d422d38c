"""For how long a claim holds: briefly where somebody renews it, else for as long as the call may take."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
from django.conf import settings

from hub import database_clock
from hub.redis_client import client
from registry_app.values import ServiceStatus
from sagas import accept, catalog, claims, clock, handover, lease, store
from sagas.states import Direction
from tests.chaos.saga_samples import SERVICE
from tests.processes import wait_until
from tests.registry.samples import register

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]

STEP_SEC = 200


def claim(saga_name, *, owner_sec=None):
    row, _ = accept.accept(catalog.find(saga_name), accept.Request(context={}, owner_sec=owner_sec))
    return claims.claim(store.load(row.pk), 0, Direction.DO)


def held_for(attempt):
    return attempt.lease_until - clock.now()


def until(attempt):
    return store.load(attempt.execution_id).run.steps[0].lease_until


def whole_lease():
    return pytest.approx(STEP_SEC + settings.HUB.saga_lease_grace_sec, abs=5)


def test_a_step_that_runs_here_is_held_briefly_and_may_run_long():
    attempt = claim("chaos_patient")

    assert held_for(attempt) <= settings.HUB.saga_lease_sec
    assert attempt.limit_sec == pytest.approx(STEP_SEC, abs=5)


@pytest.mark.parametrize(("honours", "expected_sec"), [("key", 15), ("none", STEP_SEC + 5)])
def test_a_service_that_honours_no_key_is_not_called_while_an_earlier_call_may_run(honours, expected_sec):
    register(SERVICE, "http://127.0.0.1:8002", status=ServiceStatus.HEALTHY, metadata={"honours": honours})

    assert held_for(claim("chaos_patient_http")) == pytest.approx(expected_sec, abs=5)


def test_what_its_caller_drives_is_held_for_as_long_as_the_call_may_take():
    assert held_for(claim("chaos_patient", owner_sec=60)) == whole_lease()


def test_a_lease_is_renewed_while_the_block_runs_and_not_after(settings):
    settings.HUB = settings.HUB.model_copy(update={"saga_lease_sec": 0.6})
    attempt = claim("chaos_patient")

    with lease.kept(attempt):
        wait_until(lambda: until(attempt) > attempt.lease_until + 0.1, what="a renewal")
    wait_until(lambda: clock.now() > until(attempt) + 0.2, what="the end of the last lease")


def test_a_clock_that_is_set_back_does_not_end_the_renewals(settings, monkeypatch):
    settings.HUB = settings.HUB.model_copy(update={"saga_lease_sec": 0.6})
    monkeypatch.setattr(lease, "_keeper", None)
    attempt = claim("chaos_patient")
    monkeypatch.setattr(database_clock, "_synced", (time.monotonic(), clock.now() - 1))

    with lease.kept(attempt):
        wait_until(lambda: until(attempt) > attempt.lease_until + 0.1, what="a renewal")


def test_a_renewal_never_reaches_beyond_what_the_call_may_take(settings):
    settings.HUB = settings.HUB.model_copy(update={"saga_lease_sec": math.inf})
    attempt = claim("chaos_patient")

    with lease.kept(attempt):
        assert held_for(attempt) == whole_lease()


def test_a_layers_task_is_not_sent_when_the_lease_has_ended():
    attempt = claim("tools_first")
    ended = replace(attempt.applied.run.steps[0], lease_until=clock.now() - 1)
    frozen = replace(attempt, applied=replace(attempt.applied, run=replace(attempt.applied.run, steps=(ended,))))

    assert handover._send(frozen).error["code"] == "E11490"

    assert not client().llen("tools")
