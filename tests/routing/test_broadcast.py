"""One request to many services."""

import asyncio
import time

import pytest

from hub import broker
from hub.errors import IntegrationError
from hub.routing.broadcast import broadcast
from hub.routing.face import RequestOrchestrator
from hub.routing.models import RoutedRequest
from tests.routing.targets import Target


@pytest.fixture
def five(register):
    targets = [Target() for _ in range(5)]
    yield {register(one.url): one for one in targets}
    for one in targets:
        one.stop()


def kinds(outcomes):
    return [one.kind for one in outcomes.values()]


def test_all_services_answer_side_by_side(five):
    started = time.monotonic()

    outcomes = broadcast(list(five), "GET", "/slow/1.5")

    assert time.monotonic() - started < 4 * 1.5
    assert list(outcomes) == list(five)
    assert kinds(outcomes) == ["ok"] * 5
    assert len({one.result.trace_id for one in outcomes.values()}) == 1
    assert RoutedRequest.objects.count() == 5


def test_services_behind_one_address_are_asked_over_connections_that_are_kept(register):
    gateway = Target()
    names = [register(gateway.url + "/slow/0.2") for _ in range(30)]

    for _ in range(2):
        assert kinds(broadcast(names, "GET", "/")) == ["ok"] * 30
    gateway.stop()

    assert 16 < gateway.connections <= 30


def test_each_service_has_its_own_outcome(five, register, dead_url):
    names = [*five, register(dead_url), "nobody"]

    outcomes = broadcast(names, "GET", "/x")

    assert kinds(outcomes) == ["ok"] * 5 + ["failed", "unavailable"]
    assert outcomes["nobody"].as_dict()["error"]["code"] == "E11020"


@pytest.mark.parametrize(
    ("path", "kind"), [("/status/404", "refused"), ("/status/500", "failed"), ("/hang", "timeout"), ("/close", "failed")]
)
def test_a_failure_is_an_outcome_of_its_kind(service, path, kind):
    outcome = broadcast([service], "POST", path, timeout=0.4)[service]

    assert (outcome.ok, outcome.kind) == (False, kind)
    assert set(outcome.as_dict()) == {"ok", "outcome", "error"}


def test_an_answer_that_looks_like_an_error_is_an_answer(service):
    plain = broadcast([service], "GET", "/echo")[service].as_dict()

    assert plain["ok"] is True
    assert set(plain) == {"ok", "outcome", "response"}


def test_an_open_breaker_is_an_outcome(service):
    for _ in range(5):
        broadcast([service], "POST", "/status/500")

    assert broadcast([service], "GET", "/x")[service].kind == "circuit_open"


@pytest.mark.parametrize(("policy", "good"), [("any", 1), ("first:2", 2), ("majority", 3)])
def test_when_enough_have_answered_the_rest_is_cancelled_and_said_so(policy, good, register):
    fast, slow = [Target() for _ in range(good)], [Target() for _ in range(5 - good)]
    names = [register(one.url + "/echo") for one in fast] + [register(one.url + "/hang") for one in slow]
    started = time.monotonic()

    outcomes = broadcast(names, "GET", "/x", timeout=8, policy=policy)

    assert time.monotonic() - started < 5
    assert kinds(outcomes) == ["ok"] * good + ["cancelled"] * (5 - good)
    assert outcomes[names[-1]].error.outcome in ("nothing_sent", "unknown")
    for one in fast + slow:
        one.stop()


def test_any_waits_for_a_good_answer_and_is_not_content_with_a_failure(register):
    fast, slow = Target(), Target()
    names = [register(fast.url + "/status/500"), register(slow.url + "/slow/0.3")]

    outcomes = broadcast(names, "GET", "/", policy="any")

    assert kinds(outcomes) == ["failed", "ok"]
    fast.stop()
    slow.stop()


def test_what_nobody_thought_of_is_the_outcome_of_its_service_alone(register, service, monkeypatch):
    def break_down(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(broker, "post", break_down)
    odd = register("celery://l03.odd")

    outcomes = broadcast([service, odd], "POST", "/x")

    assert kinds(outcomes) == ["ok", "failed"]
    assert (outcomes[odd].error.code, outcomes[odd].error.outcome) == ("E11900", "unknown")
    assert RoutedRequest.objects.filter(service_name=odd, code="E11900").exists()


def test_whoever_hangs_past_the_deadline_is_late_and_not_cancelled(register, service, own_redis):
    late = register("celery://l03.late")
    broadcast([late], "POST", "/l03/reserve", timeout=0.2)
    own_redis.freeze()

    outcomes = broadcast([service, late], "POST", "/x", timeout=2)

    assert kinds(outcomes) == ["ok", "timeout"]
    assert (outcomes[late].error.code, outcomes[late].error.outcome) == ("E11342", "unknown")


def test_one_deadline_holds_for_all(five):
    started = time.monotonic()

    outcomes = broadcast(list(five), "GET", "/hang", timeout=0.4)

    assert time.monotonic() - started < 5
    assert kinds(outcomes) == ["timeout"] * 5


@pytest.mark.parametrize("policy", ["first:0", "first:6", "first:", "most", 7, "", "first:-1"])
def test_an_unknown_policy_is_refused(five, policy):
    with pytest.raises(IntegrationError) as caught:
        broadcast(list(five), "GET", "/x", policy=policy)

    assert caught.value.code == "E11902"
    assert not any(one.requests for one in five.values())


def test_a_text_instead_of_a_list_is_refused_as_that():
    for names in ("L08_http", None):
        with pytest.raises(IntegrationError, match=f"^E11308: service_names must be a list of names, not {type(names).__name__}"):
            asyncio.run(RequestOrchestrator().broadcast_request(names, "GET", "/x"))
