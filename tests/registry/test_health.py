"""From what was seen to what is kept: with real servers, a real database, and a clock that the test moves."""

import json
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from hub.events.models import OutboxEvent
from registry_app import health, maintenance, outcomes, services
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.models import HealthChange
from registry_app.rules import SILENCE
from tests.registry.samples import BAD, GOOD, http_check, register, row_of, run_due, say

pytestmark = pytest.mark.django_db


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


def test_a_probe_that_began_before_the_maintenance_takes_nobody_out():
    info = register(check=http_check(failure_threshold=1, deregister_after=2))
    claimed = say(info, BAD)
    maintenance.begin(info.service_id, minutes=5, reason="disk", by="ann")

    health.record(info.service_id, BAD, at=timezone.now(), seen=claimed)

    assert (row_of(info).failures, row_of(info).deregistered_at) == (2, None)


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
        run_due()

        assert (row_of(beating).status, row_of(beating).reason) == ("healthy", "heartbeat: last heartbeat 0 s ago")

    def test_while_it_beats_nobody_looks(self, beating, time_machine):
        services.heartbeat(beating.service_id)
        run_due()

        for _ in range(10):
            time_machine.shift(10)
            services.heartbeat(beating.service_id)
            assert run_due() == 0

    def test_missed_beats_make_it_unhealthy_when_its_time_is_over(self, beating, time_machine):
        services.heartbeat(beating.service_id)
        run_due()

        time_machine.shift(30)
        run_due()
        assert row_of(beating).status == "healthy"

        time_machine.shift(1)
        run_due()
        assert (row_of(beating).status, row_of(beating).reason) == ("unhealthy", "heartbeat: last heartbeat 31 s ago, more than 30 s")

    @pytest.mark.parametrize("minutes", [5, -5])
    def test_the_clock_of_a_worker_that_is_ahead_or_behind_changes_nothing(self, minutes):
        info = register(check=HealthCheck(HealthCheckType.TTL, interval_sec=10, failure_threshold=3))
        services.heartbeat(info.service_id)
        run_due()

        with time_machine.travel(timezone.now() + timedelta(minutes=minutes)):
            run_due()
            assert row_of(info).status == "healthy"
            services.heartbeat(info.service_id)

        assert abs(timezone.now() - row_of(info).last_heartbeat_at) < timedelta(seconds=30)

    def test_the_next_beat_brings_it_back_at_once(self, beating, time_machine):
        time_machine.shift(60)
        run_due()
        assert row_of(beating).status == "unhealthy"

        services.heartbeat(beating.service_id)
        run_due()

        assert row_of(beating).status == "healthy"

    def test_who_promises_to_beat_from_now_on_has_one_time_to_live_for_the_first(self, time_machine):
        time_machine.move_to("2030-01-01T12:00:00+00:00", tick=False)
        info = register(status="healthy")
        time_machine.shift(3600)
        register(check=HealthCheck(HealthCheckType.TTL, interval_sec=10, failure_threshold=3))

        time_machine.shift(29)
        assert (run_due(), row_of(info).status) == (0, "healthy")

        time_machine.shift(2)
        assert (run_due(), row_of(info).status) == (1, "unhealthy")


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

        run_due()

        assert row_of(info).status == "healthy"

    def test_failing_ones_degrade_whose_check_is_good(self, httpserver):
        httpserver.expect_request("/health").respond_with_data("ok")
        info = register("with-failing-requests", endpoint=httpserver.url_for(""), check=http_check(failure_threshold=1))
        self.report(info, ok=4, failed=6)

        run_due()

        row = row_of(info)
        assert (row.status, row.reason) == ("degraded", "requests: 6 of 10 requests failed within 60 s")
        assert {name: said["verdict"] for name, said in row.witnesses.items()} == {"probe": "good", "requests": "bad"}

    def test_reporting_is_cheap_and_shared(self):
        info = register(endpoint="http://127.0.0.1:3002")

        self.report(info, ok=700, failed=300)

        assert outcomes.witness(info.service_id).reason == "300 of 1000 requests failed within 60 s"

    def test_what_was_sent_late_says_nothing_of_now(self, time_machine):
        time_machine.move_to("2030-01-01T12:00:00+00:00")
        info = register(endpoint="http://127.0.0.1:3003")
        for _ in range(10):
            outcomes.report(info.service_id, ok=False)
        time_machine.shift(3600)

        outcomes.report("another", ok=True)
        outcomes.flush()

        assert outcomes.witness(info.service_id) is SILENCE
