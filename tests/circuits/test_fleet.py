"""Many processes, one breaker: real processes on a real Redis."""

import pytest

from hub.circuits import breaker, services
from hub.circuits.defaults import default_config
from hub.circuits.policy import CircuitState
from hub.errors import CircuitOpen
from tests.circuits.crowd import DeadService, Processes, call_until, fork


@pytest.fixture
def processes():
    found = Processes()
    yield found
    found.stop()


def test_of_32_calls_by_8_processes_only_those_begun_before_the_fifth_failure_reach_a_dead_service(service, processes):
    """The bound that always holds is threshold - 1 + processes; see `tests.circuits.wave` for what is measured."""
    dead, together = DeadService(), fork.Barrier(8)
    for _ in range(8):
        processes.start(call_until, service, dead, together, 4)

    refused = sum(processes.results(8))

    assert dead.reached.value <= default_config().failure_threshold - 1 + 8
    assert refused == 32 - dead.reached.value
    assert breaker.look(service).state is CircuitState.OPEN


def test_failures_that_are_spread_over_processes_open_it_together(service, processes):
    dead = DeadService(sec=0)
    for _ in range(5):
        processes.start(call_until, service, dead, fork.Barrier(1), 1)
        processes.results(1)

    assert breaker.look(service).state is CircuitState.OPEN
    assert dead.reached.value == 5


def try_at_each_signal(service, go, done, rounds):
    outcomes = []
    breaker.admit(service)
    done.release()
    for _ in range(rounds):
        go.acquire()
        try:
            breaker.admit(service)
            outcomes.append("admitted")
        except CircuitOpen as exc:
            outcomes.append(str(exc.code))
        done.release()
    return outcomes


@pytest.mark.django_db(transaction=True)
def test_a_forced_state_is_seen_by_every_process_at_its_next_call(service, processes):
    rounds, others = 20, 4
    goes, done = [fork.Semaphore(0) for _ in range(others)], fork.Semaphore(0)
    for go in goes:
        processes.start(try_at_each_signal, service, go, done, rounds)
    for _ in range(others):
        assert done.acquire(timeout=10)

    expected = []
    for round_number in range(rounds):
        force = round_number % 2 == 0
        if force:
            services.force(service, CircuitState.FORCED_OPEN, by="anna", why="test", for_sec=60)
        else:
            services.reset(service, by="anna")
        for go in goes:
            go.release()
        for _ in range(others):
            assert done.acquire(timeout=10)
        expected.append("E11223" if force else "admitted")

    assert processes.results(others) == [expected] * others
