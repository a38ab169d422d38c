"""When an instance is looked at again."""

import pytest

from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.timing import ROLL_CALL_SEC, SCAN_SEC, UNCHECKED_INTERVAL_SEC, spread

DRAWS = 200


def waits(check):
    return [spread(check).total_seconds() for _ in range(DRAWS)]


def http(interval_sec):
    return HealthCheck(HealthCheckType.HTTP, "/health", interval_sec=interval_sec, timeout_sec=1)


@pytest.mark.parametrize("interval_sec", [5, 10, 30, 600])
def test_a_fault_is_looked_at_within_the_interval_though_the_look_itself_is_late(interval_sec):
    assert max(waits(http(interval_sec))) + SCAN_SEC <= interval_sec


def test_an_answer_of_workers_may_be_old_by_then_and_that_is_counted_too():
    queue = HealthCheck(HealthCheckType.CELERY, "l05", interval_sec=30, timeout_sec=1)

    assert max(waits(queue)) + SCAN_SEC + ROLL_CALL_SEC <= 30


def test_a_very_short_interval_does_not_become_a_storm():
    assert min(waits(http(1))) >= 0.5


def test_those_that_came_together_do_not_stay_together():
    found = waits(http(30))

    assert max(found) - min(found) > 1.5


def test_without_a_check_requests_are_judged_now_and_then():
    assert max(waits(None)) <= UNCHECKED_INTERVAL_SEC
