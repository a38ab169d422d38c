"""One process whose Redis goes: the same rules locally, said once, and shared again when it is back."""

import time

import pytest

from hub.circuits import breaker, fleet, store
from hub.circuits.config import CircuitBreakerConfig
from hub.errors import CircuitOpen
from tests.circuits.failing import QUICK, fail, opened, succeed, wait_half_open


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
            succeed(service)

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

        _wait_until(shared=True)

        assert breaker.store_status() == {"shared": True, "alone_since": None}
        assert breaker.execute(service, lambda: "fine") == "fine"
        assert breaker.look(service).shared is True
        assert sum("fleet's again" in record.message for record in caplog.records) == 1

    def test_each_time_alone_begins_from_what_was_last_known(self, service, own_redis):
        own_redis.stop()
        permit = breaker.admit(service)
        own_redis.start()
        _wait_until(shared=True)
        breaker.report(permit, ok=False)
        opened(service, CircuitBreakerConfig())

        own_redis.stop()
        _wait_until(shared=False)

        with pytest.raises(CircuitOpen):
            breaker.admit(service)

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


def _wait_until(*, shared):
    deadline = time.monotonic() + 8
    while breaker.store_status()["shared"] is not shared and time.monotonic() < deadline:
        time.sleep(0.05)
    assert breaker.store_status()["shared"] is shared
