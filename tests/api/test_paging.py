"""Every list ends somewhere, and goes on from there."""

import pytest

from hub.api.paging import encode
from hub.routing.models import RoutedRequest
from tests.console.pages import saga
from tests.registry import samples

pytestmark = pytest.mark.django_db

LISTS = ("/services", "/requests", "/sagas", "/subscriptions", "/dead-letters", "/circuits")


def walk(caller, path, key, limit=2):
    """Return what all pages of a list hold, and how many pages there were."""
    found, cursor, pages = [], "", 0
    while cursor is not None and pages < 20:
        mark = "&" if "?" in path else "?"
        page = caller.get(f"{path}{mark}limit={limit}&cursor={cursor}").json()
        assert len(page["items"]) <= limit
        found += [item[key] for item in page["items"]]
        cursor, pages = page["next"], pages + 1
    return found, pages


def test_runs_come_newest_first_page_by_page(caller):
    runs = [str(saga().pk) for _ in range(5)]

    assert walk(caller, "/sagas", "execution_id") == (runs[::-1], 3)
    assert walk(caller, "/sagas?status=pending&saga_name=three_steps", "execution_id", limit=5) == (runs[::-1], 1)
    assert walk(caller, "/sagas?status=failed", "execution_id") == ([], 1)


def test_services_come_by_id_page_by_page(caller):
    ids = sorted(samples.register(endpoint=f"http://127.0.0.1:{8_000 + number}").service_id for number in range(5))

    assert walk(caller, "/services", "service_id") == (ids, 3)
    assert walk(caller, "/services?service_name=L02_runtime&status=unknown", "service_id", limit=200) == (ids, 1)
    assert walk(caller, "/services?service_name=nobody", "service_id") == ([], 1)


def test_requests_are_found_by_what_their_caller_knows(caller):
    for number in range(4):
        outcome = "ok" if number % 2 else "unknown"
        RoutedRequest.objects.create(
            service_name="L02", method="GET", path="/", outcome=outcome, duration_ms=1, trace_id="ab" * 16, correlation_id=f"order-{number}"
        )

    assert walk(caller, "/requests", "correlation_id", limit=3) == (["order-3", "order-2", "order-1", "order-0"], 2)
    assert walk(caller, "/requests?outcome=ok", "correlation_id") == (["order-3", "order-1"], 1)
    assert walk(caller, "/requests?correlation_id=order-2", "outcome") == (["unknown"], 1)


BAD = (
    "limit=0",
    "limit=201",
    "limit=many",
    "cursor=%00",
    "correlation_id=%00",
    "cursor=" + encode(["\0"]),
    "cursor=" + encode(["\ud800"]),
    "cursor=" + encode(["\ud800", 5]),
    "cursor=" + encode(["0001-01-01T00:00:00+14:00", 5]),
    "cursor=" + encode(["9999-12-31T23:59:59-14:00", "00000000-0000-0000-0000-000000000000"]),
    "cursor=" + encode(["a", "b", "c"]),
    "cursor=" + encode([{}]),
    "cursor=" + encode([{}, {}]),
    "cursor=" + encode([None, None]),
    "order_by=owner",
    "owner__startswith=a",
    "pk__gt=1",
)


@pytest.mark.parametrize("path", LISTS)
def test_a_bad_parameter_is_refused(caller, path):
    answers = {query: caller.get(f"{path}?{query}") for query in BAD}

    assert {query: (one.status_code, one.json().get("code")) for query, one in answers.items()} == dict.fromkeys(BAD, (422, "E11912"))


def test_a_bad_filter_is_refused(caller):
    for path in ("/sagas?status=odd", "/services?status=odd", "/requests?outcome=odd", "/dead-letters?status=odd"):
        assert caller.get(path).json()["code"] == "E11912", path


def test_an_address_with_the_character_nul_is_refused(caller):
    for path in ("/services/%00", "/services/a%00b/instances", "/sagas/%00", "/traces/%00"):
        assert (caller.get(path).status_code, caller.get(path).json()["code"]) == (422, "E11912"), path
