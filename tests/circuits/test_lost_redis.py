"""Several processes whose Redis goes, hangs, forgets or restarts: what each does meanwhile, and that they agree again."""

import time

import pytest

from hub.circuits import breaker, store
from hub.circuits.config import CircuitBreakerConfig
from tests.circuits.crowd import Remote, all_do, outcome_of, outcomes_of, report_permit, state_of, take_permit
from tests.processes import wait_until

QUICK = CircuitBreakerConfig(timeout_sec=0.1, half_open_requests=3, success_threshold=3)
CREW = 4


@pytest.fixture
def crew(own_redis, service):
    """Processes that have all used the breaker while Redis was there."""
    found = [Remote() for _ in range(CREW)]
    assert all_do(found, outcome_of, service) == ["ok"] * CREW
    yield found
    for one in found:
        one.kill()


def agree(crew, service, state):
    """Wait until every process sees this state of the fleet."""
    wait_until(lambda: all_do(crew, state_of, service) == [(state, True)] * CREW, timeout_sec=30, what=f"{state} for all")


def refuse(crew, service, *config):
    """Wait until every process refuses calls: an answer that the breaker is closed may be a moment late."""
    wait_until(lambda: all_do(crew, outcome_of, service, False, *config) == ["E11220"] * CREW, what="refusals by all")


def test_gone_each_goes_on_by_itself_and_back_they_share_again(service, own_redis, crew):
    own_redis.stop()

    alone = all_do(crew, outcomes_of, service, 6, True)

    assert alone == [["failed"] * 5 + ["E11220"]] * CREW
    assert all_do(crew, state_of, service) == [("open", False)] * CREW
    own_redis.start()
    agree(crew, service, "closed")
    assert crew[0].do(outcomes_of, service, 5, True) == ["failed"] * 5
    refuse(crew, service)


def test_gone_an_open_breaker_stays_open_for_all_and_half_opens_for_each(service, own_redis, crew):
    config = CircuitBreakerConfig(timeout_sec=1.0, half_open_requests=1, success_threshold=1)
    crew[0].do(outcomes_of, service, 5, True, config)
    refuse(crew, service, config)

    own_redis.stop()

    wait_until(lambda: all_do(crew, outcome_of, service, False, config) == ["ok"] * CREW, what="probes of each process alone")
    assert all_do(crew, state_of, service) == [("closed", False)] * CREW


def test_frozen_it_delays_the_first_call_and_not_every_one(service, own_redis, crew):
    calls = 60
    own_redis.freeze()
    started = time.monotonic()

    outcomes = all_do(crew, outcomes_of, service, calls)
    took_sec = time.monotonic() - started
    own_redis.thaw()

    assert outcomes == [["ok"] * calls] * CREW
    assert took_sec < calls * store.TIMEOUT_SEC / 2
    agree(crew, service, "closed")


def test_frozen_a_dead_service_still_opens_the_breaker_of_each(service, own_redis, crew):
    own_redis.freeze()

    found = all_do(crew, outcomes_of, service, 6, True)
    own_redis.thaw()

    assert found == [["failed"] * 5 + ["E11220"]] * CREW
    wait_until(lambda: all(shared for _, shared in all_do(crew, state_of, service)), timeout_sec=30, what="shared again")
    assert len(set(all_do(crew, state_of, service))) == 1


def test_emptied_all_begin_anew_and_old_results_count_nowhere(service, crew):
    all_do(crew, take_permit, service)
    crew[0].do(outcomes_of, service, 5, True)
    refuse(crew, service)

    store.client().flushall()
    store.client().script_flush()

    wait_until(lambda: all_do(crew, outcome_of, service) == ["ok"] * CREW, what="a breaker begun anew")
    all_do(crew, report_permit, False)
    agree(crew, service, "closed")
    assert breaker.look(service).failure_count == 0


def test_restarted_an_open_breaker_is_still_open_for_all(service, own_redis, crew):
    assert crew[0].do(outcomes_of, service, 5, True) == ["failed"] * 5
    own_redis.restart()

    agree(crew, service, "open")
    assert all_do(crew, outcome_of, service) == ["E11220"] * CREW


def test_restarted_in_half_open_the_permits_that_were_given_still_count(service, own_redis, crew):
    crew[0].do(outcomes_of, service, 5, True, QUICK)
    wait_until(lambda: crew[0].do(take_permit, service, QUICK), what="the first permit")
    assert crew[1].do(take_permit, service, QUICK)
    own_redis.restart()
    agree(crew, service, "half_open")

    permits = [one.do(take_permit, service, QUICK) for one in crew[2:]]

    assert [permit is not None for permit in permits] == [True, False]
    all_do(crew[:3], report_permit, True)
    agree(crew, service, "closed")


def test_a_late_success_of_one_process_does_not_close_what_another_opened(service, crew):
    crew[0].do(take_permit, service)
    crew[1].do(outcomes_of, service, 5, True)

    crew[0].do(report_permit, True)

    agree(crew, service, "open")


def test_late_failures_of_one_process_do_not_count_against_a_service_that_recovered_for_another(service, crew):
    for _ in range(5):
        crew[0].do(take_permit, service, QUICK)
    crew[1].do(outcomes_of, service, 5, True, QUICK)
    wait_until(lambda: crew[2].do(outcomes_of, service, 3, False, QUICK) == ["ok"] * 3, what="three good probes")
    agree(crew, service, "closed")

    for _ in range(5):
        crew[0].do(report_permit, False)

    agree(crew, service, "closed")
    assert crew[3].do(outcome_of, service) == "ok"
