"""One process and its breaker, on a real Redis (F1 and F2: defects that a well-known small orchestrator has)."""

import threading
import time
import tracemalloc
from itertools import pairwise

import pytest

from hub.circuits import breaker, fleet, services, store
from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.guards import guard, guarded
from hub.circuits.policy import CircuitState
from hub.errors import CircuitOpen, ErrorCode, IntegrationError, Refused, RequestFailed

QUICK = CircuitBreakerConfig(timeout_sec=0.1, half_open_requests=3, success_threshold=2)


class Down(Exception):
    pass


def fails():
    raise Down


def fail(service, times=1, config=QUICK):
    for _ in range(times):
        with pytest.raises(Down):
            breaker.execute_with(config, service, fails)


def opened(service, config=QUICK):
    fail(service, config.failure_threshold, config)
    assert breaker.look(service).state is CircuitState.OPEN


def wait_half_open():
    time.sleep(0.11)


def test_f1_it_opens_at_the_fifth_failure_and_not_before(service):
    fail(service, 4, config=None or CircuitBreakerConfig())
    assert breaker.look(service).state.value == "closed"

    fail(service, 1, CircuitBreakerConfig())

    assert breaker.look(service).state.value == "open"
    with pytest.raises(CircuitOpen) as caught:
        breaker.execute(service, lambda: "never called")
    assert caught.value.code is ErrorCode.BREAKER_OPEN
    assert 0 < caught.value.retry_after_sec <= 60


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
            breaker.execute_with(QUICK, service, lambda: (inside.append(1), go_on.wait(5)))
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
        breaker.execute_with(QUICK, service, lambda: None)

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


class TestWithoutRedis:
    def test_the_same_rules_hold_in_this_process(self, service, own_redis, caplog):
        breaker.execute(service, lambda: None)
        own_redis.stop()

        fail(service, 5)

        with pytest.raises(CircuitOpen):
            breaker.execute(service, lambda: None)
        assert breaker.look(service).shared is False
        assert breaker.store_status()["shared"] is False
        assert [record.levelname for record in caplog.records if "Redis" in record.message].count("ERROR") == 1

    def test_half_open_works_there_too(self, service, own_redis):
        own_redis.stop()
        fail(service, 5)
        wait_half_open()

        for _ in range(2):
            breaker.execute_with(QUICK, service, lambda: None)

        assert breaker.look(service).state.value == "closed"

    def test_an_open_breaker_stays_open_when_redis_goes(self, service, own_redis):
        opened(service, CircuitBreakerConfig())
        own_redis.stop()
        fleet.fleet().copies[service].is_stale = True

        with pytest.raises(CircuitOpen):
            breaker.admit(service)

    def test_it_is_shared_again_when_redis_is_back(self, service, own_redis, caplog):
        own_redis.stop()
        fail(service, 5)
        own_redis.start()
        deadline = time.monotonic() + 8

        while not breaker.store_status()["shared"] and time.monotonic() < deadline:
            time.sleep(0.05)

        assert breaker.store_status() == {"shared": True, "alone_since": None}
        assert breaker.execute(service, lambda: "fine") == "fine"
        assert breaker.look(service).shared is True
        assert sum("fleet's again" in record.message for record in caplog.records) == 1

    def test_state_survives_a_restart_of_redis(self, service, own_redis):
        opened(service, CircuitBreakerConfig())
        own_redis.restart()
        fleet.forget()

        with pytest.raises(CircuitOpen):
            breaker.admit(service)

    def test_an_emptied_redis_is_begun_anew_and_old_results_do_not_count(self, service, own_redis):
        permits = [breaker.admit(service, QUICK) for _ in range(5)]
        fail(service, 2)
        store.client().flushall()
        store.client().script_flush()
        for permit in permits:
            breaker.report(permit, ok=False)

        fail(service, 4)

        assert breaker.look(service).failure_count == 4

    def test_a_frozen_redis_delays_one_call_and_not_every_one(self, service, own_redis):
        breaker.execute(service, lambda: None)
        store.client().client_pause(3_000)
        fleet.fleet().copies[service].is_stale = True
        started = time.monotonic()

        for _ in range(50):
            breaker.execute(service, lambda: None)

        assert time.monotonic() - started < 2 * store.TIMEOUT_SEC + 0.3


@pytest.mark.django_db
class TestOperators:
    def test_a_manual_state_needs_a_name_a_reason_and_an_end(self, service):
        for by, why, for_sec in [("", "why", 60), ("me", " ", 60), ("me", "why", 0), ("me", "why", 8 * 86_400)]:
            with pytest.raises(IntegrationError) as caught:
                services.force(service, CircuitState.FORCED_OPEN, by=by, why=why, for_sec=for_sec)
            assert caught.value.code in (ErrorCode.ARGUMENT_MISSING, ErrorCode.BREAKER_TIMEOUT_INVALID)

    def test_only_manual_states_can_be_forced(self, service):
        with pytest.raises(IntegrationError) as caught:
            services.force(service, CircuitState.HALF_OPEN, by="me", why="why")

        assert caught.value.code is ErrorCode.BREAKER_TRANSITION_ILLEGAL

    def test_forced_open_refuses_with_its_own_code_until_its_end(self, service):
        services.force(service, CircuitState.FORCED_OPEN, by="anna", why="database move", for_sec=0.2)

        with pytest.raises(CircuitOpen) as caught:
            breaker.admit(service)
        time.sleep(0.21)

        assert caught.value.code is ErrorCode.BREAKER_FORCED_OPEN
        assert breaker.admit(service)
        assert breaker.look(service).state.value == "closed"

    def test_whoever_waits_for_the_end_of_a_forced_state_asks_again_before_it(self, service):
        services.force(service, CircuitState.FORCED_OPEN, by="anna", why="database move", for_sec=86_400)

        with pytest.raises(CircuitOpen) as caught:
            breaker.admit(service)

        assert 0 < caught.value.retry_after_sec <= breaker.FORCED_LOOK_SEC

    def test_forced_closed_lets_a_failing_service_be_called(self, service):
        services.force(service, CircuitState.FORCED_CLOSED, by="anna", why="false alarm", for_sec=60)

        fail(service, 20)

        assert breaker.look(service).state.value == "forced_closed"

    def test_overrides_of_one_service_hold_in_every_call(self, service):
        services.configure(service, {"failure_threshold": 2})

        fail(service, 2, CircuitBreakerConfig())

        assert breaker.look(service).state.value == "open"
        assert breaker.look(service).overrides == {"failure_threshold": 2}

    def test_what_operators_decided_outlives_the_data_of_redis(self, service):
        services.configure(service, {"failure_threshold": 2})
        services.force(service, CircuitState.FORCED_OPEN, by="anna", why="database move", for_sec=600)
        store.client().delete(f"hub:circuit:{service}")

        assert services.restore_lost() >= 1

        assert breaker.look(service).state.value == "forced_open"
        assert breaker.look(service).manual_why == "database move"
        assert breaker.look(service).overrides == {"failure_threshold": 2}
        assert services.restore_lost() == 0

    def test_reset_closes_and_forgets(self, service):
        opened(service)
        services.reset(service, by="anna", why="fixed")

        assert breaker.execute(service, lambda: "fine") == "fine"
