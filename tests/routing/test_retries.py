"""When an attempt is repeated, how soon, and out of which budget."""

from datetime import UTC, datetime

import pytest

from hub.circuits import fleet, store
from hub.errors import ErrorCode, RequestFailed
from hub.routing import answers, budget, retries
from hub.routing.budget import Budget
from hub.routing.retries import RetryPolicy


def failed(code, outcome, status=None):
    return RequestFailed(code, outcome=outcome, status_code=status)


@pytest.mark.parametrize(
    ("error", "repeatable", "expected"),
    [
        (failed(ErrorCode.CONNECT_FAILED, "nothing_sent"), False, True),
        (failed(ErrorCode.NAME_RESOLUTION_FAILED, "nothing_sent"), False, True),
        (failed(ErrorCode.TLS_FAILED, "nothing_sent"), True, False),
        (failed(ErrorCode.ADDRESS_REFUSED_AT_CONNECT, "nothing_sent"), True, False),
        (failed(ErrorCode.TIMED_OUT_AFTER_SEND, "unknown"), True, False),
        (failed(ErrorCode.CONNECTION_BROKE_AFTER_SEND, "unknown"), True, True),
        (failed(ErrorCode.CONNECTION_BROKE_AFTER_SEND, "unknown"), False, False),
        (failed(ErrorCode.ANSWER_TOO_LARGE, "unknown"), True, False),
        (failed(ErrorCode.UPSTREAM_BUSY, "answered", 503), True, True),
        (failed(ErrorCode.UPSTREAM_BUSY, "answered", 503), False, False),
        (failed(ErrorCode.UPSTREAM_SERVER_ERROR, "answered", 500), True, False),
        (failed(ErrorCode.UPSTREAM_CLIENT_ERROR, "answered", 404), True, False),
    ],
)
def test_only_what_is_safe_is_repeated(error, repeatable, expected):
    assert retries.may_repeat(error, is_repeatable=repeatable) is expected


def test_the_wait_doubles_up_to_its_cap_and_is_jittered():
    policy = RetryPolicy(first_delay_sec=0.1, max_delay_sec=2)

    assert [retries.delay_sec(policy, attempt=n, random=1.0) for n in (1, 2, 3, 9)] == [0.1, 0.2, 0.4, 2]
    assert retries.delay_sec(policy, attempt=3, random=0.0) == 0
    assert retries.delay_sec(policy, attempt=1, random=0.0, retry_after_sec=7) == 7


@pytest.fixture(params=["shared", "alone"])
def _redis(request, settings):
    fleet.forget()
    if request.param == "alone":
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
    yield
    fleet.forget()


@pytest.mark.usefixtures("_redis")
def test_retries_are_a_fifth_of_the_calls(request):
    service, ours = f"budget-{request.node.name}", Budget()
    spent_at_first = sum(ours.spend(service) for _ in range(30))

    for _ in range(50):
        ours.earn(service)

    assert int(budget.LARGEST) <= spent_at_first <= int(budget.LARGEST) + 1
    assert 10 <= sum(ours.spend(service) for _ in range(30)) <= 11


def test_the_budget_is_the_fleets():
    service = "budget-of-the-fleet"
    one, other = Budget(), Budget()
    store.client().delete(f"hub:retry-budget:{service}")

    while one.spend(service):
        pass

    assert not other.spend(service)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("Thu, 01 Jan 2026 00:00:00 +99999999999999999999", None),
        ("Thu, 01 Jan 99999 00:00:00 GMT", None),
        (None, None),
    ],
)
def test_retry_after_is_read_or_passed_over(value, seconds):
    assert answers.retry_after_sec(value, datetime(2026, 1, 1, tzinfo=UTC)) == seconds
