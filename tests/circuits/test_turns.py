"""After a failure, calls under way report before the next one from here begins."""

import threading
import time

import pytest

from hub.circuits import breaker, turns
from tests.circuits.crowd import DeadService, Processes, call_until, fork, outcome_of

ENDLESS_SEC = 30.0


@pytest.fixture
def patient(monkeypatch):
    """Wait so long that only news can have ended a wait."""
    monkeypatch.setattr(turns, "SHORTEST_SEC", ENDLESS_SEC)
    monkeypatch.setattr(turns, "LONGEST_SEC", ENDLESS_SEC)


@pytest.fixture
def processes():
    found = Processes()
    yield found
    found.stop()


def seconds_for(work):
    started = time.monotonic()
    work()
    return time.monotonic() - started


def test_with_patience_only_the_first_wave_of_8_processes_reaches_a_dead_service(service, processes, patient):
    dead, together = DeadService(), fork.Barrier(8)
    for _ in range(8):
        processes.start(call_until, service, dead, together, 4)

    refused = sum(processes.results(8))

    assert dead.reached.value <= 8
    assert refused == 32 - dead.reached.value


def test_the_next_call_after_a_failure_is_late_but_goes(service):
    outcome_of(service, fails=True)

    assert seconds_for(lambda: breaker.admit(service)) >= turns.SHORTEST_SEC * 0.8
    assert outcome_of(service) == "ok"


def test_a_good_result_ends_the_wait(service, patient):
    permit = breaker.admit(service)
    outcome_of(service, fails=True)
    other = threading.Timer(0.1, breaker.report, [permit], {"ok": True})
    other.start()

    assert seconds_for(lambda: breaker.admit(service)) < ENDLESS_SEC / 2
    other.join(10)


def test_the_wait_ends_with_the_patience_of_the_caller(service, patient):
    outcome_of(service, fails=True)

    assert seconds_for(lambda: breaker.admit(service, patience_sec=0.01)) < ENDLESS_SEC / 2


def test_an_event_loop_does_not_wait(service, patient):
    outcome_of(service)
    assert breaker.answers_from_memory(service)

    outcome_of(service, fails=True)

    assert not breaker.answers_from_memory(service)


def test_a_process_without_a_failure_of_its_own_waits_for_nothing(service, processes, patient):
    outcome_of(service, fails=True)

    processes.start(outcome_of, service)

    assert seconds_for(lambda: processes.results(1)) < ENDLESS_SEC / 2
