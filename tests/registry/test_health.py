"""From what was seen to what is kept: with real servers, a real database, and a clock that the test moves."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from hub.events.models import OutboxEvent
from registry_app import health, maintenance, outcomes, preservation, prober, services, state
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.models import HealthChange, Service
from registry_app.rules import Finding, Verdict
from registry_app.timing import SCAN_SEC
from tests.registry.samples import http_check, register, row_of
from tests.registry.targets import raw_server

pytestmark = pytest.mark.django_db

GOOD = {"probe": Finding(verdict=Verdict.GOOD, reason="HTTP 200", took_ms=4.2)}
BAD = {"probe": Finding(verdict=Verdict.BAD, reason="connection refused", took_ms=1.0)}


def say(info, *found, at=None):
    for witnesses in found:
        health.record(info.service_id, witnesses, at=at or timezone.now())
    return row_of(info)


def make_all_due():
    Service.objects.filter(deregistered_at=None).update(next_probe_at=timezone.now())


def test_a_probe_makes_a_new_service_healthy_and_writes_it_down(httpserver):
    httpserver.expect_request("/health").respond_with_data("ok")
    info = register(endpoint=httpserver.url_for(""), check=http_check())

    assert prober.run_due() == 1

    row = row_of(info)
    assert (row.status, row.reason, row.tracker) == ("healthy", "probe: HTTP 200", "g")
    assert (row.witnesses["probe"]["verdict"], row.witnesses["probe"]["reason"]) == ("good", "HTTP 200")
    assert 0 < row.recent_ms[0] < 5000
    change = row.changes.get(kind=HealthChange.Kind.HEALTH)
    assert (change.old_status, change.new_status, change.reason) == ("unknown", "healthy", "probe: HTTP 200")


def test_a_change_of_health_is_an_event():
    info = register()

    say(info, GOOD)

    event = json.loads(OutboxEvent.objects.latest("pk").body)
    assert event["topic"] == "service.health_changed"
    assert {key: event["data"][key] for key in ("service_name", "old_status", "new_status", "reason")} == {
        "service_name": "L02_runtime",
        "old_status": "unknown",
        "new_status": "healthy",
        "reason": "probe: HTTP 200",
    }


def test_what_does_not_change_is_no_history():
    info = register()

    row = say(info, GOOD, GOOD, GOOD)

    assert row.tracker == "ggg"
    assert row.changes.filter(kind=HealthChange.Kind.HEALTH).count() == 1


def test_the_tracker_keeps_the_last_sixty():
    info = register()

    row = say(info, *[GOOD] * 50, *[BAD] * 20)

    assert row.tracker == "g" * 40 + "b" * 20
    assert len(row.recent_ms) == 60


def test_a_hundred_registrations_during_a_flap_keep_the_health():
    info = register(check=http_check(failure_threshold=1))
    say(info, GOOD, BAD, GOOD, BAD, GOOD)
    before = row_of(info)

    for _ in range(100):
        register(check=http_check(failure_threshold=1))

    after = row_of(info)
    kept = ("status", "reason", "penalty", "successes", "failures", "tracker", "status_since", "next_probe_at")
    assert {name: getattr(after, name) for name in kept} == {name: getattr(before, name) for name in kept}
    assert (after.status, round(after.penalty)) == ("degraded", 2)
    assert after.changes.filter(kind__in=["registered", "updated"]).count() == 1


def test_who_fails_too_often_leaves_by_itself_with_the_reason():
    info = register(check=http_check(failure_threshold=2, deregister_after=4))

    row = say(info, GOOD, BAD, BAD, BAD)
    assert row.deregistered_at is None
    row = say(info, BAD)

    assert row.deregistered_at
    assert row.next_probe_at is None
    assert row.changes.latest("pk").reason == "failed 4 checks in a row: probe: connection refused"


def test_who_is_in_maintenance_may_fail_for_as_long_as_that_takes():
    info = register(check=http_check(failure_threshold=1, deregister_after=1))
    maintenance.begin(info.service_id, minutes=5, reason="disk", by="ann")

    assert say(info, BAD, BAD).deregistered_at is None


def test_a_finding_about_who_left_changes_nothing():
    info = register()
    services.deregister(info.service_id)

    assert health.record(info.service_id, BAD, at=timezone.now()) is None
    assert row_of(info).failures == 0


def test_a_finding_is_judged_again_when_another_came_in_between(monkeypatch):
    info = register()
    real, calls = health._update, []

    def lose_the_first(row, columns):
        calls.append(row)
        if len(calls) == 1:
            say(info, GOOD)
        return real(row, columns)

    monkeypatch.setattr(health, "_update", lose_the_first)
    say(info, GOOD)

    assert row_of(info).tracker == "gg"


class TestHeartbeats:
    @pytest.fixture
    def beating(self, time_machine):
        time_machine.move_to("2030-01-01T12:00:00+00:00", tick=False)
        return register(check=HealthCheck(HealthCheckType.TTL, interval_sec=10, failure_threshold=3))

    def test_a_beat_makes_it_healthy(self, beating):
        services.heartbeat(beating.service_id)
        prober.run_due()

        assert (row_of(beating).status, row_of(beating).reason) == ("healthy", "heartbeat: last heartbeat 0 s ago")

    def test_while_it_beats_nobody_looks(self, beating, time_machine):
        services.heartbeat(beating.service_id)
        prober.run_due()

        for _ in range(10):
            time_machine.shift(10)
            services.heartbeat(beating.service_id)
            assert prober.run_due() == 0

    def test_missed_beats_make_it_unhealthy_when_its_time_is_over(self, beating, time_machine):
        services.heartbeat(beating.service_id)
        prober.run_due()

        time_machine.shift(30)
        prober.run_due()
        assert row_of(beating).status == "healthy"

        time_machine.shift(1)
        prober.run_due()
        assert (row_of(beating).status, row_of(beating).reason) == ("unhealthy", "heartbeat: last heartbeat 31 s ago, more than 30 s")

    def test_the_next_beat_brings_it_back_at_once(self, beating, time_machine):
        time_machine.shift(60)
        prober.run_due()
        assert row_of(beating).status == "unhealthy"

        services.heartbeat(beating.service_id)
        prober.run_due()

        assert row_of(beating).status == "healthy"


class TestRoutedRequests:
    def report(self, info, *, ok=0, failed=0):
        for _ in range(ok):
            outcomes.report(info.service_id, ok=True)
        for _ in range(failed):
            outcomes.report(info.service_id, ok=False)
        outcomes.flush()

    def test_they_alone_make_an_instance_without_a_check_healthy(self):
        info = register(endpoint="http://127.0.0.1:3001")
        self.report(info, ok=1)

        prober.run_due()

        assert row_of(info).status == "healthy"

    def test_failing_ones_degrade_whose_check_is_good(self, httpserver):
        httpserver.expect_request("/health").respond_with_data("ok")
        info = register("with-failing-requests", endpoint=httpserver.url_for(""), check=http_check(failure_threshold=1))
        self.report(info, ok=4, failed=6)

        prober.run_due()

        row = row_of(info)
        assert (row.status, row.reason) == ("degraded", "requests: 6 of 10 requests failed within 60 s")
        assert {name: said["verdict"] for name, said in row.witnesses.items()} == {"probe": "good", "requests": "bad"}

    def test_reporting_is_cheap_and_shared(self):
        info = register(endpoint="http://127.0.0.1:3002")

        self.report(info, ok=700, failed=300)

        assert outcomes.witness(info.service_id).reason == "300 of 1000 requests failed within 60 s"


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

    def test_the_longest_due_come_first(self):
        infos = [register(endpoint=f"http://127.0.0.1:{port}") for port in range(1001, 1004)]
        for age, info in enumerate(infos):
            Service.objects.filter(service_id=info.service_id).update(next_probe_at=timezone.now() - timedelta(seconds=10 + age))

        jobs = prober.claim_due(2, now=timezone.now())

        assert [job.row.service_id for job in jobs] == [infos[2].service_id, infos[1].service_id]


class TestSelfPreservation:
    START = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)

    @pytest.fixture
    def six(self, time_machine):
        time_machine.move_to(self.START, tick=False)
        infos = [register(f"S{n}", f"http://127.0.0.1:{1001 + n}", check=http_check(failure_threshold=2)) for n in range(6)]
        for info in infos:
            say(info, GOOD)
        return infos

    def all_say(self, infos, found, *, minutes=0.0):
        for info in infos:
            say(info, found, at=self.START + timedelta(minutes=minutes))
        return [row_of(info).status for info in infos]

    def test_when_all_fail_at_once_their_status_is_held_and_the_summary_says_why(self, six):
        self.all_say(six, BAD, minutes=1)
        assert self.all_say(six, BAD, minutes=1.5) == ["healthy"] * 6

        assert row_of(six[0]).reason == "held at healthy: probe: connection refused"
        said = services.health_summary()["self_preservation"]
        assert said.startswith("6 of 6 services went bad at once; the hub's own Redis answers in ")

    def test_one_failure_among_six_is_believed(self, six):
        row = say(six[0], BAD, BAD)

        assert row.status == "unhealthy"
        assert state.current_freeze() is None

    def test_failures_far_apart_are_believed(self, six):
        for number, info in enumerate(six):
            row = say(info, BAD, BAD, at=self.START + timedelta(minutes=5 * number))
            assert row.status == "unhealthy"

    def test_nobody_leaves_while_the_hub_suspects_itself(self, six):
        for info in six:
            register(info.service_name, info.endpoint, check=http_check(failure_threshold=2, deregister_after=3))
        for _ in range(6):
            self.all_say(six, BAD, minutes=1)

        assert Service.objects.filter(deregistered_at=None).count() == 6

    def test_after_five_minutes_the_evidence_is_believed(self, six, time_machine):
        self.all_say(six, BAD, minutes=1)
        self.all_say(six, BAD, minutes=1.5)

        time_machine.move_to(self.START + timedelta(minutes=6.6), tick=False)
        assert self.all_say(six, BAD, minutes=6.6) == ["unhealthy"] * 6
        assert services.health_summary()["self_preservation"] is None

    def test_it_ends_when_most_answer_again(self, six):
        self.all_say(six, BAD, minutes=1)
        self.all_say(six, BAD, minutes=1.5)
        preservation.review(at=self.START + timedelta(minutes=2))
        assert state.current_freeze()

        self.all_say(six[:3], GOOD, minutes=2)
        preservation.review(at=self.START + timedelta(minutes=2))

        assert state.current_freeze() is None
        assert row_of(six[0]).status == "healthy"
        assert say(six[5], BAD, at=self.START + timedelta(minutes=2.5)).status == "unhealthy"


def test_a_probe_that_hangs_is_a_finding():
    with raw_server(b"", drip_sec=0.2) as port:
        info = register(endpoint=f"http://127.0.0.1:{port}", check=http_check(timeout_sec=0.5, failure_threshold=1))
        prober.run_due()

    assert row_of(info).reason == "probe: no whole answer within 0.5 s"


def test_an_instance_can_be_probed_out_of_turn(httpserver):
    httpserver.expect_request("/health").respond_with_data("ok")
    info = register("probed-out-of-turn", endpoint=httpserver.url_for(""), check=http_check())
    prober.claim_due(10, now=timezone.now())

    assert prober.probe_now(info.service_id) == "healthy"
    assert prober.probe_now("nobody") is None
