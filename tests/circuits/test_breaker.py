"""One process and its breaker, on a real Redis (F1 and F2: defects that a well-known small orchestrator has)."""

import threading
import time
import tracemalloc
from itertools import pairwise

import pytest

from hub.circuits import breaker, store
from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.guards import guard, guarded
from hub.errors import CircuitOpen, ErrorCode, IntegrationError, Refused, RequestFailed
from tests.circuits.failing import QUICK, Down, fail, opened, succeed, wait_half_open


def test_f1_it_opens_at_the_fifth_failure_and_not_before(service):
    fail(service, 4, config=None or CircuitBreakerConfig())
    assert breaker.look(service).state.value == "closed"

    fail(service, 1, CircuitBreakerConfig())

    assert breaker.look(service).state.value == "open"
    with pytest.raises(CircuitOpen) as caught:
        breaker.execute(service, lambda: "never called")
    assert caught.value.code is ErrorCode.BREAKER_OPEN
    assert 0 < caught.value.retry_after_sec <= 60


def test_looking_changes_nothing_for_callers_with_another_policy(service):
    policy = CircuitBreakerConfig(failure_threshold=50, window_size_sec=30, minimum_calls=10, error_rate_threshold=0.5)
    for number in range(9):
        breaker.look(service)
        fail(service, 1, policy) if number % 2 else succeed(service, policy)
    assert breaker.look(service).state.value == "closed"

    fail(service, 1, policy)

    assert breaker.look(service).state.value == "open"


def test_whoever_looks_judges_good_results_by_the_policy_of_their_calls(service):
    patient = CircuitBreakerConfig(failure_threshold=50, minimum_calls=100)
    for _ in range(3):
        succeed(service, patient)  # the last ones are told with the next question
    generation = breaker.fleet().copies[service].snapshot.generation
    for _ in range(6):  # by another process
        about = {"ok": False, "slow": False, "failure": "{}", "retry_after_ms": 0, "worker": "b", "probe_id": ""}
        store.ask(service, "record", patient, generation=generation, **about)

    seen = breaker.look(service)

    assert (seen.state.value, seen.failed, seen.ok) == ("closed", 6, 3)


def test_a_success_begins_the_count_anew(service):
    fail(service, 4)
    assert breaker.execute(service, lambda: "fine") == "fine"
    fail(service, 4)

    assert breaker.look(service).state.value == "closed"


def test_f2_of_ten_callers_at_once_exactly_the_permitted_probes_get_through(service):
    opened(service)
    wait_half_open()
    inside, refused, go_on = [], [], threading.Event()

    def call():
        try:
            with guard(service, QUICK):
                inside.append(1)
                go_on.wait(5)
        except CircuitOpen as exc:
            refused.append(exc.code)
            if len(refused) == 7:
                go_on.set()

    threads = [threading.Thread(target=call) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert (len(inside), set(refused)) == (3, {ErrorCode.BREAKER_PROBES_TAKEN})
    assert breaker.look(service).state.value == "closed"


def test_a_late_success_does_not_close_an_open_breaker(service):
    permit = breaker.admit(service, QUICK)
    opened(service)

    breaker.report(permit, ok=True)

    assert breaker.look(service).state.value == "open"


def test_a_late_failure_does_not_count_against_a_recovered_service(service):
    permits = [breaker.admit(service, QUICK) for _ in range(5)]
    opened(service)
    wait_half_open()
    for _ in range(2):
        succeed(service)

    for permit in permits:
        breaker.report(permit, ok=False)

    assert breaker.look(service).state.value == "closed"
    assert breaker.look(service).failure_count == 0


def test_a_probe_that_never_reports_gives_its_permit_back(service):
    config = CircuitBreakerConfig(timeout_sec=0.1, half_open_requests=1, success_threshold=1)
    opened(service, config)
    wait_half_open()
    breaker.admit(service, config, lease_sec=0.1)
    with pytest.raises(CircuitOpen) as caught:
        breaker.admit(service, config)

    time.sleep(0.11)

    assert caught.value.retry_after_sec <= 0.1
    assert breaker.admit(service, config).probe_id


@pytest.mark.parametrize(("lease_sec", "state"), [(0.05, "half_open"), (5, "closed")])
def test_a_probe_may_take_as_long_as_its_guard_says(service, lease_sec, state):
    config = CircuitBreakerConfig(timeout_sec=0.1, half_open_requests=1, success_threshold=1)
    opened(service, config)
    wait_half_open()

    @guarded(service, config, lease_sec=lease_sec)
    def slow():
        time.sleep(0.11)

    slow()

    assert breaker.look(service, config).state.value == state


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (Down(), True),
        (TimeoutError(), True),
        (RequestFailed(ErrorCode.CONNECT_FAILED, outcome="nothing_sent"), True),
        (RequestFailed(ErrorCode.TIMED_OUT_AFTER_SEND, outcome="unknown"), True),
        (RequestFailed(ErrorCode.UPSTREAM_SERVER_ERROR, status_code=500), True),
        (RequestFailed(ErrorCode.UPSTREAM_CLIENT_ERROR, status_code=408), True),
        (RequestFailed(ErrorCode.UPSTREAM_CLIENT_ERROR, status_code=425), True),
        (RequestFailed(ErrorCode.UPSTREAM_BUSY, status_code=429), True),
        (RequestFailed(ErrorCode.UPSTREAM_CLIENT_ERROR, status_code=404), False),
        (RequestFailed(ErrorCode.UPSTREAM_CLIENT_ERROR, status_code=422), False),
        (Refused("no"), False),
        (IntegrationError(ErrorCode.PATH_INVALID), False),
        (CircuitOpen(ErrorCode.BREAKER_OPEN), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_what_counts_against_a_service(service, error, counts):
    def call():
        raise error

    for _ in range(5):
        with pytest.raises(type(error)):
            breaker.execute(service, call)

    assert breaker.look(service).state.value == ("open" if counts else "closed")


def test_retry_after_opens_for_exactly_that_long(service):
    permit = breaker.admit(service)

    breaker.report(permit, ok=False, retry_after_sec=7)

    with pytest.raises(CircuitOpen) as caught:
        breaker.admit(service)
    assert 6 < caught.value.retry_after_sec <= 7


def test_good_results_are_told_to_the_fleet_in_batches(service):
    for _ in range(100):
        breaker.execute(service, lambda: None)
    before = store.client().info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
    for _ in range(100):
        breaker.execute(service, lambda: None)
    asked = store.client().info("commandstats")["cmdstat_evalsha"]["calls"] - before

    seen = breaker.look(service)

    assert asked <= 1
    assert (seen.ok, seen.failed) == (200, 0)


def test_what_was_refused_together_comes_back_in_a_ramp(service):
    opened(service, CircuitBreakerConfig())
    waits = []
    for _ in range(100):
        with pytest.raises(CircuitOpen) as caught:
            breaker.admit(service)
        waits.append(caught.value.retry_after_sec)

    base = waits[0]
    per_second = [sum(second <= wait - base + 0.05 < second + 1 for wait in waits) for second in range(8)]

    assert waits == sorted(waits) or all(b > a - 0.05 for a, b in pairwise(waits))
    assert per_second[0] <= 2
    assert sum(per_second) == 100
    assert all(later <= 2.5 * earlier + 1 for earlier, later in pairwise(per_second))


@pytest.mark.parametrize("name", ["", "1x", "a b", "a\n", "x" * 129, None, 7])
def test_a_malformed_name_is_refused(name):
    with pytest.raises(IntegrationError) as caught:
        breaker.admit(name)

    assert caught.value.code is ErrorCode.BREAKER_NAME_INVALID


def test_there_is_a_limit_to_the_number_of_breakers(service, monkeypatch):
    monkeypatch.setattr(store, "MAX_CIRCUITS", 0)

    with pytest.raises(IntegrationError) as caught:
        breaker.admit(service)

    assert caught.value.code is ErrorCode.TOO_MANY_BREAKERS


def test_looking_at_a_breaker_makes_none(service):
    breaker.look(service)

    assert service not in store.names()


def test_a_context_manager_and_a_decorator_guard_plain_code(service):
    @guarded(service, QUICK)
    def call():
        raise Down

    for _ in range(3):
        with pytest.raises(Down):
            call()
    for _ in range(2):
        with pytest.raises(Down), guard(service, QUICK):
            raise Down

    with pytest.raises(CircuitOpen):
        call()


def test_a_long_guarded_call_holds_no_lock(service):
    started, go_on = threading.Event(), threading.Event()
    slow = threading.Thread(target=lambda: breaker.execute(service, lambda: (started.set(), go_on.wait(5))))
    slow.start()
    started.wait(5)

    assert breaker.execute(service, lambda: "meanwhile") == "meanwhile"

    go_on.set()
    slow.join(5)


def test_memory_does_not_grow_with_calls(service):
    breaker.execute(service, lambda: None)
    tracemalloc.start()
    for _ in range(20_000):
        breaker.execute(service, lambda: None)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert grown < 200_000
