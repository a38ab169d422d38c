"""When an instance is well: thresholds, flapping, evidence joined, and the hub's suspicion of itself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from registry_app.rules import (
    HALF_LIFE_SEC,
    MAX_PROOF_FACTOR,
    SILENCE,
    Finding,
    Health,
    SelfPreservation,
    Thresholds,
    Verdict,
    counted_from,
    heartbeat_finding,
    held,
    is_mass_failure,
    join,
    judge,
    outcome_finding,
    penalty_now,
    proofs_needed,
    queue_finding,
    should_leave,
)
from registry_app.values import ServiceStatus

GOOD = Finding(verdict=Verdict.GOOD, reason="HTTP 200")
SLOW = Finding(verdict=Verdict.SLOW, reason="took 900 ms")
BAD = Finding(verdict=Verdict.BAD, reason="connection refused")
DEFAULT = Thresholds(failure_threshold=3, success_threshold=1)


def after(*findings, health=None, thresholds=DEFAULT, start=0.0, step=30.0):
    health = health or Health()
    for number, finding in enumerate(findings):
        health = judge(health, finding, thresholds, now=start + number * step)
    return health


def test_a_new_instance_is_unknown_until_somebody_looked():
    assert Health().status is ServiceStatus.UNKNOWN
    assert after(SILENCE) == Health()


def test_one_good_check_makes_it_healthy():
    assert after(GOOD).status is ServiceStatus.HEALTHY


def test_failures_below_the_threshold_change_nothing_but_are_counted():
    health = after(GOOD, BAD, BAD)

    assert (health.status, health.failures, health.failing_since) == (ServiceStatus.HEALTHY, 2, 30.0)


def test_failures_in_a_row_make_it_unhealthy_with_their_reason():
    health = after(GOOD, BAD, BAD, BAD)

    assert (health.status, health.reason) == (ServiceStatus.UNHEALTHY, "connection refused")


def test_a_good_check_in_between_begins_the_count_anew():
    assert after(GOOD, BAD, BAD, GOOD, BAD, BAD).status is ServiceStatus.HEALTHY


def test_a_conclusive_finding_needs_no_repetition():
    assert after(GOOD, replace(BAD, conclusive=True)).status is ServiceStatus.UNHEALTHY


def test_it_takes_as_many_good_checks_as_asked_to_come_back():
    thresholds = Thresholds(failure_threshold=1, success_threshold=3)

    assert after(GOOD, GOOD, thresholds=thresholds).status is ServiceStatus.UNKNOWN
    assert after(GOOD, GOOD, GOOD, thresholds=thresholds).status is ServiceStatus.HEALTHY


def test_slow_answers_in_a_row_make_it_degraded_and_a_quick_one_healthy_again():
    assert after(GOOD, SLOW, SLOW).status is ServiceStatus.HEALTHY
    assert after(GOOD, SLOW, SLOW, SLOW).status is ServiceStatus.DEGRADED
    assert after(GOOD, SLOW, SLOW, SLOW, GOOD).status is ServiceStatus.HEALTHY


def test_who_comes_back_slow_comes_back_degraded():
    assert after(BAD, BAD, BAD, SLOW).status is ServiceStatus.DEGRADED


def test_the_first_fall_costs_nothing_extra():
    assert after(GOOD, BAD, BAD, BAD, GOOD).status is ServiceStatus.HEALTHY


FALL_AND_RISE = (BAD, BAD, BAD, GOOD)


def test_each_further_fall_doubles_the_proof():
    health = after(GOOD)
    needed = []
    for number in range(5):
        health = after(BAD, BAD, BAD, health=health, step=1, start=number * 10)
        needed.append(proofs_needed(health, DEFAULT, now=number * 10 + 3))
        health = after(*[GOOD] * needed[-1], health=health, step=0, start=number * 10 + 4)
        assert health.status is ServiceStatus.HEALTHY

    assert needed == [1, 2, 4, 8, 16]


def test_while_it_proves_itself_it_is_degraded_and_says_how_far_it_is():
    flapping = after(GOOD, *FALL_AND_RISE, BAD, BAD, BAD, GOOD, step=1)

    assert flapping.status is ServiceStatus.DEGRADED
    assert flapping.reason == "it flaps (penalty 2.0): 1 of 2 good checks in a row"
    assert judge(flapping, GOOD, DEFAULT, now=10).status is ServiceStatus.HEALTHY


def test_the_penalty_halves_with_time_and_the_proof_with_it():
    health = Health(status=ServiceStatus.UNHEALTHY, penalty=4, penalty_at=0)

    assert penalty_now(health, now=HALF_LIFE_SEC) == pytest.approx(2)
    assert [proofs_needed(health, DEFAULT, now=n * HALF_LIFE_SEC) for n in range(4)] == [8, 2, 1, 1]


def test_the_proof_has_a_cap():
    assert proofs_needed(Health(penalty=50), DEFAULT, now=0) == MAX_PROOF_FACTOR


def test_a_clock_that_went_back_does_not_make_the_penalty_grow():
    assert penalty_now(Health(penalty=2, penalty_at=100), now=0) == 2


def test_being_found_dead_at_first_sight_is_no_flap():
    assert after(BAD, BAD, BAD).penalty == 0


def test_the_worst_witness_counts_and_is_named():
    joined = join({"probe": GOOD, "queue": SLOW, "requests": SILENCE})

    assert (joined.verdict, joined.reason) == (Verdict.SLOW, "queue: took 900 ms")


def test_failing_requests_cannot_kill_a_service_whose_own_check_is_good():
    assert join({"probe": GOOD, "requests": BAD}).verdict is Verdict.SLOW
    assert join({"heartbeat": GOOD, "requests": BAD}).verdict is Verdict.SLOW


def test_failing_requests_alone_can():
    assert join({"requests": BAD}).verdict is Verdict.BAD


def test_a_failing_check_is_not_outvoted():
    joined = join({"probe": BAD, "requests": GOOD, "heartbeat": GOOD})

    assert (joined.verdict, joined.reason) == (Verdict.BAD, "probe: connection refused")


def test_all_who_complain_are_named():
    assert (
        join({"probe": BAD, "requests": replace(BAD, reason="9 of 9 failed")}).reason
        == "probe: connection refused; requests: 9 of 9 failed"
    )


def test_silence_says_nothing():
    assert join({"requests": SILENCE}) is SILENCE


@pytest.mark.parametrize(
    ("good", "failed", "verdict"),
    [(0, 0, Verdict.SILENT), (1, 0, Verdict.GOOD), (0, 4, Verdict.SILENT), (0, 5, Verdict.BAD), (5, 5, Verdict.BAD), (6, 5, Verdict.GOOD)],
)
def test_requests_are_believed_when_there_are_enough(good, failed, verdict):
    assert outcome_finding(good=good, failed=failed, window_sec=60).verdict is verdict


@pytest.mark.parametrize(
    ("age", "verdict"),
    [(0, Verdict.GOOD), (90, Verdict.GOOD), (90.1, Verdict.BAD)],
)
def test_a_heartbeat_has_a_time_to_live(age, verdict):
    finding = heartbeat_finding(age_sec=age, ttl_sec=90, registered_for_sec=1000)

    assert finding.verdict is verdict


@pytest.mark.parametrize(("registered_for", "verdict"), [(10, Verdict.SILENT), (90, Verdict.BAD)])
def test_the_first_heartbeat_may_take_one_time_to_live(registered_for, verdict):
    assert heartbeat_finding(age_sec=None, ttl_sec=90, registered_for_sec=registered_for).verdict is verdict


@pytest.mark.parametrize(
    ("length", "waited", "limit", "verdict"),
    [(0, 0, 60, Verdict.GOOD), (9, 60, 60, Verdict.GOOD), (9, 61, 60, Verdict.SLOW), (9, 999, None, Verdict.GOOD)],
)
def test_a_queue_that_does_not_move_is_slow(length, waited, limit, verdict):
    assert queue_finding(length=length, waited_sec=waited, limit_sec=limit).verdict is verdict


def test_who_fails_often_enough_leaves():
    dead = after(*[BAD] * 10)

    assert should_leave(dead, deregister_after=10)
    assert not should_leave(dead, deregister_after=11)
    assert not should_leave(dead, deregister_after=0)


POLICY = SelfPreservation(share=0.5, minimum=5, max_freeze_sec=300)


@pytest.mark.parametrize(
    ("watched", "failing", "suspects"),
    [(10, 5, False), (10, 6, True), (4, 4, False), (5, 5, True), (1000, 501, True), (1000, 400, False)],
)
def test_the_hub_suspects_itself_when_most_fail_at_once(watched, failing, suspects):
    assert is_mass_failure(POLICY, watched=watched, failing=failing) is suspects


NOON = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("failing_since", "now", "counted"),
    [(0, 299, 30), (299, 299, 30), (0, 300, None), (299, 400, None), (310, 320, 300), (400, 420, 340)],
)
def test_the_suspicion_ends_and_then_only_fresh_failures_begin_another(failing_since, now, counted):
    found = counted_from(POLICY, failing_since=at(failing_since), frozen_since=NOON, frozen_counting_from=at(30), at=at(now))

    assert found == (None if counted is None else at(counted))


def test_failures_of_the_last_minute_belong_together():
    assert counted_from(POLICY, failing_since=NOON, frozen_since=None, frozen_counting_from=None, at=at(9)) == at(-60)


def test_what_is_held_keeps_its_status_and_goes_on_counting():
    before = after(GOOD, BAD, BAD)
    kept = held(before, judge(before, BAD, DEFAULT, now=90))

    assert (kept.status, kept.failures, kept.penalty) == (ServiceStatus.HEALTHY, 3, 0)
    assert kept.reason == "held at healthy: connection refused"
    assert judge(kept, BAD, DEFAULT, now=120).status is ServiceStatus.UNHEALTHY


def test_the_penalty_of_who_is_held_goes_on_to_fade():
    before = Health(status=ServiceStatus.HEALTHY, penalty=2.0, penalty_at=0.0)
    kept = held(before, judge(before, BAD, Thresholds(failure_threshold=1), now=600))

    assert penalty_now(kept, now=600) == 1.0


def test_without_a_check_the_unhealthy_is_let_in_on_trial_after_a_silence():
    thresholds = replace(DEFAULT, trial_after_sec=60.0)
    fallen = after(BAD, BAD, BAD, thresholds=thresholds)

    early = after(SILENCE, health=fallen, thresholds=thresholds, start=119.0)
    on_trial = after(SILENCE, health=fallen, thresholds=thresholds, start=120.0)

    assert early == fallen
    assert (on_trial.status, on_trial.failures) == (ServiceStatus.DEGRADED, 0)
    assert "connection refused" in on_trial.reason
    assert after(GOOD, GOOD, GOOD, GOOD, health=on_trial, thresholds=thresholds, start=150.0).status is ServiceStatus.HEALTHY
    assert after(BAD, BAD, BAD, health=on_trial, thresholds=thresholds, start=150.0).status is ServiceStatus.UNHEALTHY
    assert after(*[SILENCE] * 99, health=fallen).status is ServiceStatus.UNHEALTHY


def test_what_a_peer_said_is_kept_as_every_database_takes_it():
    assert Finding(verdict=Verdict.BAD, reason="\x15\x03\x00\udcff").reason == "\x15\x03\ufffd?"
