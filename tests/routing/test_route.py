"""Requests to real services, good and bad."""

import base64
import os
import resource
import time

import pytest

from hub.circuits import breaker
from hub.errors import CircuitOpen, IntegrationError, RequestFailed
from hub.routing import services
from hub.routing.context import RequestContext
from hub.routing.models import RoutedRequest
from registry_app import lookup, outcomes, wire
from tests.routing.targets import Target, silent_address
from tests.routing.test_request import HOSTILE_HEADERS, HOSTILE_PATHS

GRACE_SEC = 3.0  # for a machine that has other things to do; `tests.routing.measure` takes the true figures


def failure(service, path, *, method="POST", timeout=5, **options):
    with pytest.raises(IntegrationError) as caught:
        services.route(service, method, path, timeout=timeout, **options)
    return caught.value


def test_a_good_answer_comes_with_everything_that_led_to_it(service, target):
    context = RequestContext.create(correlation_id="order-7")

    result = services.route(service, "POST", "/execute", data={"task": "x"}, params={"a": 1}, headers={"x-own": "1"}, context=context)

    assert (result.status_code, result.attempts) == (200, 1)
    assert result.body["body"] == '{"task":"x"}'
    assert (result.trace_id, result.correlation_id) == (context.trace_id, "order-7")
    assert result.decision["breaker"] == "closed"
    assert result.decision["attempts"][0]["why"].endswith("in flight")
    method, path, headers, _ = target.requests[0]
    assert (method, path, headers["x-own"]) == ("POST", "/execute?a=1", "1")
    assert headers["x-correlation-id"] == "order-7"
    assert headers["traceparent"][3:35] == context.trace_id
    assert headers["traceparent"][36:52] != context.span_id
    assert 29 < float(headers["x-request-deadline"]) <= 30


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_every_method_is_routed(service, target, method):
    result = services.route(service, method.lower(), "/x", data=None if method == "HEAD" else {"a": 1})

    assert target.requests[0][0] == method
    assert (result.body is None) == (method == "HEAD")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/text", "grüße"),
        ("/binary", {"$base64": base64.b64encode(bytes(range(256))).decode()}),
        ("/empty", None),
        ("/gzip", {"packed": True}),
        ("/loud-text", "hello"),
        ("/members", "one, two"),
        ("/deflate", "plain"),
    ],
)
def test_answers_of_every_kind(service, path, body):
    assert services.route(service, "GET", path).body == body


@pytest.mark.parametrize("path", ["/gzip", "/text"])
def test_an_answer_to_head_has_the_headers_and_no_body(service, path):
    result = services.route(service, "HEAD", path)

    assert (result.body, "content-length" in result.headers) == (None, True)


def test_connections_are_kept(service, target):
    for _ in range(5):
        services.route(service, "POST", "/x", data={"a": 1})

    assert (len(target.requests), target.connections) == (5, 1)


def test_an_interim_answer_is_none_and_leaves_no_answer_for_the_next_call(service, target):
    answers = [services.route(service, "POST", path).body["path"] for path in ("/hints/1", "/hints/2")]

    assert (answers, target.connections) == (["/hints/1", "/hints/2"], 1)


def test_a_base_path_stays_in_front(target, register):
    name = register(target.url + "/base/v1")

    services.route(name, "GET", "/x")

    assert target.requests[0][1] == "/base/v1/x"


@pytest.mark.parametrize(
    ("path", "code", "outcome", "status"),
    [
        ("/status/404", "E11345", "answered", 404),
        ("/status/409", "E11345", "answered", 409),
        ("/status/500", "E11344", "answered", 500),
        ("/status/503", "E11350", "answered", 503),
        ("/redirect", "E11381", "answered", 302),
        ("/reset", "E11343", "unknown", None),
        ("/close", "E11343", "unknown", None),
        ("/short", "E11343", "unknown", None),
        ("/broken-json", "E11348", "unknown", None),
        ("/nan", "E11348", "unknown", None),
        ("/deep", "E11348", "unknown", None),
        ("/garbage", "E11348", "unknown", None),
    ],
)
def test_a_bad_answer_gives_its_code_and_says_what_is_known(service, target, path, code, outcome, status):
    error = failure(service, path)

    assert (error.code, error.outcome, error.status_code) == (code, outcome, status)
    assert len(target.requests) == 1
    row = RoutedRequest.objects.get()
    assert (row.code, row.outcome, row.status_code, row.attempts) == (code, outcome, status, 1)


def test_what_the_service_said_travels_in_the_error(service):
    assert failure(service, "/status/409").details["body"] == {"reason": "as asked"}


def test_where_nothing_listens_nothing_was_sent(dead_url, register):
    error = failure(register(dead_url), "/x")

    assert (error.code, error.outcome) == ("E11340", "nothing_sent")
    assert RoutedRequest.objects.get().attempts == 3


def test_an_address_that_says_nothing_counts_against_the_breaker(register):
    with silent_address() as url:
        service = register(url)

        error = failure(service, "/x", timeout=0.3)

    assert (error.code, error.outcome) == ("E11340", "nothing_sent")
    assert breaker.look(service).failure_count == 1


def test_an_address_that_says_nothing_is_given_up_for_another_instance(register, target, monkeypatch):
    monkeypatch.setattr(wire, "CONNECT_SEC", 0.2)
    with silent_address() as url:
        service = register(url, target.url)
        silent = next(one.service_id for one in lookup.find(service) if one.endpoint == url)

        result = services.route(service, "POST", "/x", timeout=20, prefer_service_id=silent)

    assert (result.attempts, len(target.requests)) == (2, 1)


def test_a_name_that_cannot_be_resolved(register):
    error = failure(register("http://does-not-exist.invalid:8000"), "/x")

    assert (error.code, error.outcome) == ("E11347", "nothing_sent")


def test_plain_http_behind_https_is_a_tls_failure(target, register):
    error = failure(register(target.url.replace("http:", "https:")), "/x")

    assert (error.code, error.outcome) == ("E11346", "nothing_sent")


def test_an_unknown_service(db):
    assert failure("nobody", "/x").code == "E11020"


def test_an_address_that_turned_bad_after_registration_is_refused_at_connect(service, target, settings):
    settings.HUB = settings.HUB.model_copy(update={"allow_loopback_endpoints": False})

    error = failure(service, "/x")

    assert (error.code, error.outcome) == ("E11382", "nothing_sent")
    assert target.requests == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/hang", "E11342"),
        ("/drip", "E11342"),
        ("/drip-headers", "E11342"),
    ],
)
def test_a_service_that_takes_its_time_is_left_at_the_deadline(service, path, code):
    started = time.monotonic()

    error = failure(service, path, timeout=0.5)

    assert time.monotonic() - started < 0.5 + GRACE_SEC
    assert (error.code, error.outcome) == (code, "unknown")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/huge", "E11361"),
        ("/endless", "E11361"),
        ("/endless-chunk-size", "E11348"),
        ("/endless-header", "E11348"),
        ("/bomb", "E11362"),
    ],
)
def test_a_flood_is_cut_and_memory_stays_flat(service, path, code):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()

    error = failure(service, path, timeout=10)

    assert (error.code, error.outcome) == (code, "unknown")
    assert time.monotonic() - started < 10 + GRACE_SEC
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


def test_a_frozen_redis_holds_no_answer_for_longer_than_a_breaker_waits(service, own_redis, monkeypatch):
    monkeypatch.setattr(outcomes, "FLUSH_SEC", 0)  # it is time to tell what the instances answered
    services.route(service, "GET", "/x")
    own_redis.freeze()
    started = time.monotonic()

    for _ in range(3):
        services.route(service, "GET", "/x", timeout=5)

    assert time.monotonic() - started < GRACE_SEC


def test_environment_proxies_are_ignored(service, target, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    services.route(service, "GET", "/x")

    assert len(target.requests) == 1
    assert os.environ["HTTP_PROXY"]


def test_hostile_paths_and_headers_never_reach_another_origin(service, target):
    elsewhere = Target()
    there = f"127.0.0.1:{elsewhere.port}"
    paths = [path.replace("evil", there).replace("127.0.0.1:6379", there) for path, _ in HOSTILE_PATHS]
    assert len(paths) + len(HOSTILE_HEADERS) >= 50

    codes = {failure(service, path).code for path in paths} | {failure(service, "/x", headers=one).code for one, _ in HOSTILE_HEADERS}
    elsewhere.stop()

    assert codes == {"E11302", "E11380", "E11303", "E11383"}
    assert (target.requests, elsewhere.connections) == ([], 0)
    assert RoutedRequest.objects.count() == 0


class TestRetries:
    def test_an_idempotent_request_is_repeated_until_it_succeeds(self, service, target):
        result = services.route(service, "GET", "/flaky")

        assert (result.body, result.attempts) == ({"seen": 3}, 3)
        assert [one["outcome"] for one in result.decision["attempts"]] == ["answered", "answered", "ok"]

    def test_a_post_is_not_repeated_without_a_key(self, service, target):
        failure(service, "/flaky")

        assert len(target.requests) == 1

    def test_a_post_with_a_key_is(self, service, target):
        result = services.route(service, "POST", "/flaky", data={"a": 1}, idempotency_key="k-1")

        assert result.attempts == 3
        assert {headers["idempotency-key"] for _, _, headers, _ in target.requests} == {"k-1"}

    def test_a_post_goes_to_another_instance_when_nothing_was_sent(self, target, dead_url, register):
        name = register(dead_url, target.url)

        for _ in range(4):  # fewer attempts than the breaker judges by
            result = services.route(name, "POST", "/x", data=1)
            assert (result.status_code, result.attempts <= 2) == (200, True)

    @pytest.mark.parametrize("status", [400, 404, 409, 422, 500, 501])
    def test_what_would_come_again_is_not_asked_again(self, service, target, status):
        failure(service, f"/status/{status}", method="GET")

        assert len(target.requests) == 1

    def test_a_pause_that_outlasts_the_deadline_is_not_waited_for(self, service, target):
        started = time.monotonic()

        error = failure(service, "/busy", method="GET")

        assert error.code == "E11350"
        assert time.monotonic() - started < 10
        assert len(target.requests) == 1

    def test_a_later_refusal_does_not_undo_what_may_have_happened(self, target, dead_url, register):
        name = register(target.url)
        with pytest.raises(RequestFailed) as caught:
            services.route(name, "PUT", "/close")

        assert caught.value.outcome == "unknown"
        assert len(target.requests) == 3


@pytest.mark.parametrize(
    ("method", "key", "advised"),
    [
        ("POST", "order-7", "under the same idempotency key"),
        ("POST", "", "ask the service before you send it again"),
        ("PUT", "", "its method may be repeated"),
    ],
)
def test_who_does_not_know_whether_it_acted_is_told_what_this_request_allows(service, method, key, advised):
    error = failure(service, "/close", method=method, **({"idempotency_key": key} if key else {}))

    assert error.outcome == "unknown"
    assert advised in error.recovery_suggestion
    assert advised in str(error)


class TestBreaker:
    def test_five_failures_open_it_and_the_next_call_is_not_sent(self, service, target):
        for _ in range(5):
            failure(service, "/status/500")

        error = failure(service, "/x")

        assert isinstance(error, CircuitOpen)
        assert error.code == "E11220"
        assert 50 < error.retry_after_sec <= 60
        assert len(target.requests) == 5
        assert RoutedRequest.objects.first().code == "E11220"

    def test_refusals_by_the_service_do_not_count(self, service):
        for _ in range(10):
            failure(service, "/status/422")

        assert breaker.look(service).state.value == "closed"

    def test_retry_after_opens_it_softly_for_that_long(self, service):
        failure(service, "/busy")

        error = failure(service, "/x")

        assert error.code == "E11220"
        assert 25 < error.retry_after_sec <= 30

    def test_the_transition_has_a_case_file(self, service):
        from hub.circuits.models import CircuitTransition

        for _ in range(5):
            failure(service, "/status/500")

        row = CircuitTransition.objects.get(service_name=service)
        assert (row.old_state, row.new_state, row.why) == ("closed", "open", "consecutive_failures")
        assert [one["error"] for one in row.case["failures"]] == ["E11344"] * 5
        traces = set(RoutedRequest.objects.values_list("trace_id", flat=True))
        assert {one["trace_id"] for one in row.case["failures"]} == traces
