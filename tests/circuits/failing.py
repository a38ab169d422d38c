"""A service that fails, and breakers that it opens."""

import time

import pytest

from hub.circuits import breaker
from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.guards import guard
from hub.circuits.policy import CircuitState

QUICK = CircuitBreakerConfig(timeout_sec=0.1, half_open_requests=3, success_threshold=2)


class Down(Exception):
    pass


def fail(service, times=1, config=QUICK):
    for _ in range(times):
        with pytest.raises(Down), guard(service, config):
            raise Down


def succeed(service, config=QUICK):
    with guard(service, config):
        pass


def opened(service, config=QUICK):
    fail(service, config.failure_threshold, config)
    assert breaker.look(service).state is CircuitState.OPEN


def wait_half_open():
    time.sleep(0.11)
