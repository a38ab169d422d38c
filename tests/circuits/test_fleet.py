"""Many processes, one breaker: real processes on a real Redis, some of them killed."""

import multiprocessing
import os
import signal
import time

import pytest

from hub.circuits import breaker, services, store
from hub.circuits.policy import CircuitBreakerConfig, CircuitState
from hub.errors import CircuitOpen

fork = multiprocessing.get_context("fork")


class Processes:
    """Run functions in forked processes, one call each; `results()` waits for what they return."""

    def __init__(self):
        self.running, self.answers = [], fork.SimpleQueue()

    def start(self, work, *args):
        process = fork.Process(target=self._run, args=(work, args), daemon=True)
        process.start()
        self.running.append(process)
        return process

    def _run(self, work, args):
        self.answers.put(work(*args))

    def results(self, count):
        return [self.answers.get() for _ in range(count)]

    def stop(self):
        for process in self.running:
            process.kill()
            process.join(10)


@pytest.fixture
def processes():
    found = Processes()
    yield found
    found.stop()


class DeadService:
    """Counts who reaches it, over all processes, and fails after a moment."""

    def __init__(self, sec=0.05):
        self.sec, self.reached, self.inside, self.most = sec, fork.Value("i", 0), fork.Value("i", 0), fork.Value("i", 0)

    def call(self):
        with self.reached.get_lock():
            self.reached.value += 1
        time.sleep(self.sec)
        raise ConnectionError("dead")


def call_until(service, dead, together, calls):
    breaker.admit(f"{service}-warm-up")  # a worker that has been running has its connections
    together.wait(10)
    refused = 0
    for _ in range(calls):
        try:
            breaker.execute(service, dead.call)
        except CircuitOpen:
            refused += 1
        except ConnectionError:
            pass
    return refused


def test_of_32_calls_by_8_processes_only_those_begun_before_the_fifth_failure_reach_a_dead_service(service, processes):
    """The bound is threshold - 1 + processes = 12, not the 8 of the first wave.

    Between the first and the fifth report a process that has failed may begin its next call, and a closed breaker that
    refused it would refuse good calls of a service that fails now and then.
    """
    dead, together = DeadService(), fork.Barrier(8)
    for _ in range(8):
        processes.start(call_until, service, dead, together, 4)

    refused = sum(processes.results(8))

    assert dead.reached.value <= breaker.default_config().failure_threshold - 1 + 8
    assert refused == 32 - dead.reached.value
    assert breaker.look(service).state is CircuitState.OPEN


def test_failures_that_are_spread_over_processes_open_it_together(service, processes):
    dead = DeadService(sec=0)
    for _ in range(5):
        processes.start(call_until, service, dead, fork.Barrier(1), 1)
        processes.results(1)

    assert breaker.look(service).state is CircuitState.OPEN
    assert dead.reached.value == 5


QUICK = CircuitBreakerConfig(failure_threshold=1, timeout_sec=0.1, max_timeout_sec=0.1, half_open_requests=3, success_threshold=3)
LEASE_SEC = 0.4


def probe(service, periods, together, admitted, dies):
    """Rush at the half-open breaker in each period; some holders of a permit are killed before they can report."""
    for period in range(periods):
        together.wait(20)
        try:
            permit = breaker.admit(service, QUICK, lease_sec=LEASE_SEC)
        except CircuitOpen:
            permit = None
        if permit is not None:
            with admitted.get_lock():
                admitted[period] += 1
        together.wait(20)
        if permit is not None and not dies:
            breaker.report(permit, ok=False)
        together.wait(20)
    return None


def test_in_a_hundred_open_periods_never_more_than_three_probes_get_through(service, processes):
    periods, rushers = 100, 6
    admitted, together = fork.Array("i", periods), fork.Barrier(rushers + 1)
    with pytest.raises(ConnectionError):
        breaker.execute_with(QUICK, service, DeadService(sec=0).call)
    for _ in range(rushers):
        processes.start(probe, service, periods, together, admitted, False)

    for _ in range(periods):
        _wait_until_redis_says(breaker.look(service).open_until_ms)
        for _ in range(3):
            together.wait(20)

    counts = list(admitted)
    assert max(counts) <= 3
    assert counts == [3] * periods


def _wait_until_redis_says(moment_ms):
    """Wait by the clock that decides: this process only has an estimate of it."""
    while (left_ms := moment_ms - _redis_ms()) > 0:
        time.sleep(left_ms / 1000)


def _redis_ms():
    seconds, microseconds = store.client().time()
    return seconds * 1000 + microseconds // 1000


def hold_and_hang(service, taken):
    breaker.admit(service, QUICK, lease_sec=LEASE_SEC)
    taken.release()
    time.sleep(60)


def test_a_killed_prober_gives_its_permit_back_and_never_lets_a_fourth_in(service, processes):
    for _ in range(5):
        with pytest.raises(ConnectionError):
            breaker.execute_with(QUICK, service, DeadService(sec=0).call)
        time.sleep(0.11)
        taken = fork.Semaphore(0)
        probers = [processes.start(hold_and_hang, service, taken) for _ in range(3)]
        for _ in range(3):
            assert taken.acquire(timeout=10)
        for prober in probers:
            os.kill(prober.pid, signal.SIGKILL)
        with pytest.raises(CircuitOpen):
            breaker.admit(service, QUICK)

        time.sleep(LEASE_SEC)
        permits = [breaker.admit(service, QUICK) for _ in range(3)]
        with pytest.raises(CircuitOpen):
            breaker.admit(service, QUICK)
        for permit in permits:
            breaker.report(permit, ok=True)

        assert breaker.look(service).state is CircuitState.CLOSED


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
