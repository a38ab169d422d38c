"""Who probes which instance and when, and what a probe finds: with real servers and a real database."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from registry_app import background, health, lookup, prober, services
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.convert import check_of
from registry_app.models import HealthChange, Service
from registry_app.probes import http
from registry_app.rules import SILENCE, Finding, Verdict
from registry_app.timing import SCAN_SEC
from tests.registry.samples import GOOD, http_check, register, row_of, run_due
from tests.registry.targets import raw_server

pytestmark = pytest.mark.django_db


def test_a_probe_makes_a_new_service_healthy_and_writes_it_down(httpserver):
    httpserver.expect_request("/health").respond_with_data("ok")
    info = register(endpoint=httpserver.url_for(""), check=http_check())

    assert run_due() == 1

    row = row_of(info)
    assert (row.status, row.reason, row.tracker) == ("healthy", "probe: HTTP 200", "g")
    assert (row.witnesses["probe"]["verdict"], row.witnesses["probe"]["reason"]) == ("good", "HTTP 200")
    assert 0 < row.recent_ms[0] < 5000
    change = row.changes.get(kind=HealthChange.Kind.HEALTH)
    assert (change.old_status, change.new_status, change.reason) == ("unknown", "healthy", "probe: HTTP 200")


def test_a_probe_that_hangs_is_a_finding():
    with raw_server(b"", drip_sec=0.2) as port:
        info = register(endpoint=f"http://127.0.0.1:{port}", check=http_check(timeout_sec=0.5, failure_threshold=1))
        run_due()

    assert row_of(info).reason == "probe: no whole answer within 0.5 s"


def test_an_instance_can_be_probed_out_of_turn(httpserver):
    httpserver.expect_request("/health").respond_with_data("ok")
    info = register("probed-out-of-turn", endpoint=httpserver.url_for(""), check=http_check())
    prober.claim_due(10, now=timezone.now())

    assert prober.probe_now(info.service_id) == "healthy"
    assert prober.probe_now("nobody") is None


class TestClaims:
    def test_what_is_claimed_is_not_due_for_another(self):
        for port in range(1001, 1006):
            register(endpoint=f"http://127.0.0.1:{port}", check=http_check())
        now = timezone.now()

        first, second = prober.claim_due(3, now=now), prober.claim_due(10, now=now)

        assert (len(first), len(second)) == (3, 2)
        assert not {job.row.service_id for job in first} & {job.row.service_id for job in second}
        assert prober.claim_due(10, now=now) == []

    def test_two_who_saw_the_same_row_do_not_both_get_it(self):
        register(check=http_check())
        seen_by_both = Service.objects.get()
        now = timezone.now()

        claims = [prober._claim(seen_by_both, now), prober._claim(seen_by_both, now)]

        assert [claim is not None for claim in claims] == [True, False]

    def test_the_next_look_is_an_interval_on_with_jitter(self):
        infos = [register(endpoint=f"http://127.0.0.1:{port}", check=http_check(interval_sec=100)) for port in range(1001, 1041)]
        now = timezone.now()

        prober.claim_due(100, now=now)

        waits = [(row_of(info).next_probe_at - now).total_seconds() for info in infos]
        assert all(90 - SCAN_SEC <= wait <= 100 - SCAN_SEC for wait in waits)
        assert max(waits) - min(waits) > 2

    def test_who_dies_with_a_claim_costs_no_whole_day(self):
        info = register(check=http_check(interval_sec=86_400))
        now = timezone.now()
        assert len(prober.claim_due(1, now=now)) == 1

        (job,) = prober.claim_due(1, now=now + timedelta(minutes=5))
        prober.keep(job, {"heartbeat": SILENCE, **GOOD})

        assert (row_of(info).next_probe_at - now).total_seconds() > 0.8 * 86_400

    def test_a_look_that_is_kept_late_does_not_put_off_the_first_by_a_new_check(self):
        register(check=http_check(interval_sec=86_400))
        (job,) = prober.claim_due(1, now=timezone.now())
        register(check=http_check("/new", interval_sec=86_400))

        prober.keep(job, {"heartbeat": SILENCE, **GOOD})

        assert len(prober.claim_due(1, now=timezone.now())) == 1

    def test_the_longest_due_come_first(self):
        infos = [register(endpoint=f"http://127.0.0.1:{port}") for port in range(1001, 1004)]
        for age, info in enumerate(infos):
            Service.objects.filter(service_id=info.service_id).update(next_probe_at=timezone.now() - timedelta(seconds=10 + age))

        jobs = prober.claim_due(2, now=timezone.now())

        assert [job.row.service_id for job in jobs] == [infos[2].service_id, infos[1].service_id]

    @pytest.mark.parametrize(("said", "claimed"), [({"of_a_newer_hub": True}, ["odd", "usual"]), ({"interval_sec": -1}, ["usual"])])
    def test_a_check_that_another_version_wrote_holds_up_no_other(self, said, claimed):
        odd, usual = register("odd", check=http_check()), register("usual", check=http_check())
        Service.objects.filter(service_id=odd.service_id).update(health_check=usual.health_check.to_dict() | said)

        assert sorted(job.row.service_name for job in prober.claim_due(10, now=timezone.now())) == claimed
        assert prober.claim_due(10, now=timezone.now()) == []


def test_who_failed_without_a_check_gets_requests_again(time_machine):
    time_machine.move_to(datetime(2026, 1, 1, tzinfo=UTC), tick=False)
    fallen = register("pair", "http://127.0.0.1:8101")
    register("pair", "http://127.0.0.1:8102")
    for _ in range(3):
        health.record(fallen.service_id, {"requests": Finding(verdict=Verdict.BAD, reason="6 of 6 failed")}, at=timezone.now())
    assert row_of(fallen).status == "unhealthy"

    time_machine.shift(timedelta(seconds=61))
    prober.probe_now(fallen.service_id)
    lookup.forget()

    assert row_of(fallen).status == "degraded"
    assert fallen.service_id in {lookup.choose("pair").service_id for _ in range(200)}


def test_a_beat_that_came_while_the_look_waited_counts(time_machine):
    time_machine.move_to(datetime(2026, 1, 1, tzinfo=UTC), tick=False)
    info = register(check=HealthCheck(HealthCheckType.TTL, interval_sec=1))
    row = row_of(info)
    time_machine.shift(timedelta(seconds=90))
    job = prober.Job(row=row, check=check_of(row))
    found = prober.look(job)
    services.heartbeat(info.service_id)

    assert prober.keep(job, found) == "healthy"


def test_cookies_of_one_service_are_not_sent_to_another(httpserver):
    httpserver.expect_request("/a").respond_with_data("", headers={"Set-Cookie": "session=of-a; Path=/"})
    httpserver.expect_request("/b").respond_with_data("")

    for path in ("/a", "/b"):
        http.probe(HealthCheck(HealthCheckType.HTTP, httpserver.url_for(path)))

    (_, _), (asked, _) = httpserver.log
    assert "Cookie" not in asked.headers


def test_places_are_given_back_when_the_database_is_away():
    def fail(*_):
        raise OperationalError("server closed the connection")

    own = background.Background(1)
    with connection.execute_wrapper(fail), pytest.raises(OperationalError):
        own.start_due()

    assert len(list(own._take_room())) == background.BACKLOG_PER_THREAD


def test_the_recorder_outlives_a_finding_that_cannot_be_recorded(monkeypatch):
    kept, told = [], threading.Event()

    def keep(job, found):
        if not kept:
            kept.append(job)
            raise UnicodeEncodeError("utf-8", "", 0, 1, "surrogates not allowed")
        told.set()

    monkeypatch.setattr(prober, "keep", keep)
    own = background.Background(1)
    for _ in range(2):
        own._found.put((prober.Job(row=row_of(register()), check=None), {}))

    assert told.wait(5)
