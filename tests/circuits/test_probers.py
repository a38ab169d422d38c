"""Half-open: however many rush at it, and whoever is killed meanwhile, never more than three hold a permit."""

import random
import time

import pytest

from hub.circuits import breaker
from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.policy import CircuitState
from tests.circuits.crowd import Remote, all_do, outcome_of, redis_ms, report_permit, take_permit
from tests.processes import wait_until

QUICK = CircuitBreakerConfig(failure_threshold=1, timeout_sec=0.1, max_timeout_sec=0.1, half_open_requests=3, success_threshold=3)
RUSHERS, PERMITS = 5, 3
KILL_EACH = 5
LONG_SEC, SHORT_SEC = 60.0, 0.2


class Rush:
    """Probers that ask all at once; `alive` holds (begin, end) of each permit, by Redis' clock, in milliseconds."""

    def __init__(self, service):
        self.service, self.probers, self.killed = service, [Remote() for _ in range(RUSHERS)], 0
        self.holders, self.alive = {}, []

    def ask(self, doomed=()):
        """Let everybody without a permit ask for one; those who are doomed get a short lease. Return how many hold one."""
        idle = [one for one in self.probers if one not in self.holders]
        for one in idle:
            one.tell(take_permit, self.service, QUICK, SHORT_SEC if one in doomed else LONG_SEC)
        for one in idle:
            if moments := one.answer():
                lease_ms = 1000 * (SHORT_SEC if one in doomed else LONG_SEC)
                self.holders[one] = (moments[1], moments[0] + lease_ms)
        self.never_more_than_permitted()
        return len(self.holders)

    def never_more_than_permitted(self):
        leases = self.alive + list(self.holders.values())
        assert max((sum(begin <= moment < end for begin, end in leases) for moment, _ in leases), default=0) <= PERMITS

    def kill(self, doomed):
        """Kill those of the doomed who hold a permit, and put others in their place."""
        fallen = [one for one in doomed if one in self.holders]
        for one in fallen:
            one.kill()
            self.alive.append(self.holders.pop(one))
            self.probers[self.probers.index(one)] = Remote()
        self.killed += len(fallen)

    def report(self, ok):
        all_do(list(self.holders), report_permit, ok)
        self.holders, self.alive = {}, []

    def stop(self):
        for one in self.probers:
            one.kill()


@pytest.fixture
def rush(service):
    found = Rush(service)
    yield found
    found.stop()


def wait_until_redis_says(moment_ms):
    """Wait by the clock that decides: this process only has an estimate of it."""
    while (left_ms := moment_ms - redis_ms()) > 0:
        time.sleep(left_ms / 1000)


@pytest.mark.timeout(300)  # a hundred periods alone take ten seconds, and a busy machine makes more of them
@pytest.mark.parametrize("periods", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_in_many_open_periods_with_killed_probers_never_more_than_three_get_through(service, rush, periods):
    chance = random.Random(7)
    outcome_of(service, fails=True, config=QUICK)

    for period in range(periods):
        wait_until_redis_says(breaker.look(service).open_until_ms)
        doomed = chance.sample(rush.probers, 3) if period % KILL_EACH == 0 else []
        wait_until(lambda doomed=doomed: rush.ask(doomed) >= PERMITS, timeout_sec=30, what="three permits")
        rush.kill(doomed)
        wait_until(lambda: rush.ask() >= PERMITS, timeout_sec=30, what="the permits of the killed")
        rush.report(ok=period == periods - 1)

    assert rush.killed >= periods / KILL_EACH / 4
    assert breaker.look(service).state is CircuitState.CLOSED


def test_a_breaker_recovers_when_all_its_probers_were_killed(service, rush):
    outcome_of(service, fails=True, config=QUICK)
    wait_until_redis_says(breaker.look(service).open_until_ms)
    everybody = list(rush.probers)
    wait_until(lambda: rush.ask(everybody) >= PERMITS, timeout_sec=30, what="three permits")

    rush.kill(everybody)

    wait_until(lambda: rush.ask() >= PERMITS, timeout_sec=30, what="the permits of the killed")
    rush.report(ok=True)
    assert rush.killed >= PERMITS  # more, where a busy machine let a lease end before the kill
    assert breaker.look(service).state is CircuitState.CLOSED
