"""When most services go bad at once, the hub suspects itself first; the clock is moved by the test."""

from datetime import UTC, datetime, timedelta

import pytest

from registry_app import health, preservation, services, state
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.models import Service
from tests.registry.samples import BAD, GOOD, http_check, register, row_of, run_due, say

pytestmark = pytest.mark.django_db

START = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def six(time_machine):
    time_machine.move_to(START, tick=False)
    infos = [register(f"S{n}", f"http://127.0.0.1:{1001 + n}", check=http_check(failure_threshold=2)) for n in range(6)]
    for info in infos:
        say(info, GOOD)
    return infos


def all_say(infos, found, *, minutes=0.0):
    for info in infos:
        say(info, found, at=START + timedelta(minutes=minutes))
    return [row_of(info).status for info in infos]


def test_when_all_fail_at_once_their_status_is_held_and_the_summary_says_why(six):
    all_say(six, BAD, minutes=1)
    assert all_say(six, BAD, minutes=1.5) == ["healthy"] * 6

    assert row_of(six[0]).reason == "held at healthy: probe: connection refused"
    said = services.health_summary()["self_preservation"]
    assert said.startswith("6 of 6 services went bad at once; the hub's own Redis answers in ")


def test_one_failure_among_six_is_believed(six):
    row = say(six[0], BAD, BAD)

    assert row.status == "unhealthy"
    assert state.current_freeze() is None


def test_failures_far_apart_are_believed(six):
    for number, info in enumerate(six):
        row = say(info, BAD, BAD, at=START + timedelta(minutes=5 * number))
        assert row.status == "unhealthy"


def test_nobody_leaves_while_the_hub_suspects_itself(six):
    for info in six:
        register(info.service_name, info.endpoint, check=http_check(failure_threshold=2, deregister_after=3))
    for _ in range(6):
        all_say(six, BAD, minutes=1)

    assert Service.objects.filter(deregistered_at=None).count() == 6


def test_who_fell_before_there_were_enough_is_put_back(six, time_machine):
    for info in six:
        register(info.service_name, info.endpoint, check=http_check(failure_threshold=1))
    say(six[0], BAD, at=START + timedelta(seconds=10))
    health.put_back(at=START + timedelta(seconds=10))
    assert row_of(six[0]).status == "unhealthy"

    for info in six[1:]:
        say(info, BAD, at=START + timedelta(seconds=20))
    assert [row_of(info).status for info in six] == ["unhealthy"] * 4 + ["healthy"] * 2

    assert health.put_back(at=START + timedelta(seconds=21)) == 4
    assert {(row_of(info).status, row_of(info).penalty) for info in six} == {("healthy", 0)}
    assert row_of(six[0]).reason == "held at healthy: probe: connection refused"
    assert health.put_back(at=START + timedelta(seconds=22)) == 0

    time_machine.move_to(START + timedelta(minutes=6), tick=False)
    assert all_say(six, BAD, minutes=6) == ["unhealthy"] * 6
    assert health.put_back(at=START + timedelta(minutes=6)) == 0


def test_who_was_down_before_the_event_is_not_put_back(six):
    for info in six:
        register(info.service_name, info.endpoint, check=http_check(failure_threshold=1))
    say(six[0], BAD, at=START + timedelta(minutes=1))
    for info in six[1:]:
        say(info, BAD, at=START + timedelta(minutes=10))

    health.put_back(at=START + timedelta(minutes=10))

    assert [row_of(info).status for info in six] == ["unhealthy"] + ["healthy"] * 5


def test_the_first_beat_of_who_is_held_is_believed_at_once(time_machine):
    time_machine.move_to(START, tick=False)
    infos = [register(f"S{n}", f"http://127.0.0.1:{1001 + n}", check=HealthCheck(HealthCheckType.TTL, interval_sec=10)) for n in range(6)]
    for seconds in (0, 31):
        time_machine.move_to(START + timedelta(seconds=seconds), tick=False)
        run_due()
        health.put_back(at=START + timedelta(seconds=seconds))
        for info in infos:
            services.heartbeat(info.service_id)
        run_due()
        preservation.review()

    assert {(row.status, row.failing_since, row.failures) for row in map(row_of, infos)} == {("healthy", None, 0)}
    assert state.current_freeze() is None


def test_missing_beats_are_not_counted_faster_while_the_hub_suspects_itself(time_machine):
    time_machine.move_to(START, tick=False)
    check = HealthCheck(HealthCheckType.TTL, interval_sec=10, deregister_after=60)
    infos = [register(f"S{n}", f"http://127.0.0.1:{1001 + n}", check=check) for n in range(6)]
    for info in infos:
        services.heartbeat(info.service_id)

    for _ in range(400):
        run_due()
        time_machine.shift(1)

    assert {(row.status, row.failures > 50) for row in map(row_of, infos)} == {("unhealthy", False)}
    assert Service.objects.filter(deregistered_at=None).count() == 6


def test_after_five_minutes_the_evidence_is_believed(six, time_machine):
    all_say(six, BAD, minutes=1)
    all_say(six, BAD, minutes=1.5)

    time_machine.move_to(START + timedelta(minutes=6.6), tick=False)
    assert all_say(six, BAD, minutes=6.6) == ["unhealthy"] * 6
    assert services.health_summary()["self_preservation"] is None


def test_it_ends_when_most_answer_again(six):
    all_say(six, BAD, minutes=1)
    all_say(six, BAD, minutes=1.5)
    preservation.review()
    assert state.current_freeze()

    all_say(six[:3], GOOD, minutes=2)
    preservation.review()

    assert state.current_freeze() is None
    assert row_of(six[0]).status == "healthy"
    assert say(six[5], BAD, at=START + timedelta(minutes=2.5)).status == "unhealthy"


def test_a_second_cut_is_suspected_too_though_half_of_them_died_in_the_first(six, time_machine):
    others = [register(f"T{n}", f"http://127.0.0.1:{1101 + n}", check=http_check(failure_threshold=2)) for n in range(5)]
    all_say(others, GOOD)
    all_say(six, BAD, minutes=1)
    all_say(six, BAD, minutes=1.5)
    assert all_say(six, BAD, minutes=6.6) == ["unhealthy"] * 6
    preservation.review()

    all_say(others, BAD, minutes=60)
    held = all_say(others, BAD, minutes=60.5)

    assert held == ["healthy"] * 5
    time_machine.move_to(START + timedelta(minutes=60.6), tick=False)
    assert services.health_summary()["self_preservation"].startswith("5 of 5 services went bad at once")
    assert all_say(six, BAD, minutes=61) == ["unhealthy"] * 6
    assert all_say(others, BAD, minutes=65.6) == ["unhealthy"] * 5
