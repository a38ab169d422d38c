"""What a plain Celery client sends to `hub.requests.*`, and what it gets."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from celery import Celery
from django.conf import settings

from hub.celery import app
from hub.errors import IntegrationError
from hub.routing.models import RoutedRequest
from hub.routing.tasks import broadcast, route
from hub.telemetry.celery_headers import SENT_AT

BAD_INPUTS = json.loads((Path(__file__).parent / "data" / "bad_inputs.json").read_text())
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def expand(value):
    """Spell out what the data file abbreviates."""
    if isinstance(value, list):
        return [expand(item) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$repeat": [text, times]}:
            return text * times
        case {"$range": [prefix, count]}:
            return [f"{prefix}{number}" for number in range(count)]
        case {"$nan": _}:
            return float("nan")
        case {"$nest": depth}:
            nested = []
            for _ in range(depth):
                nested = [nested]
            return nested
    return {key: expand(item) for key, item in value.items()}


def cases(surface):
    return [pytest.param(entry, id=f"{entry['id']} {entry['title']}") for entry in BAD_INPUTS if entry["surface"] == surface]


def run(task, kwargs, headers=None):
    """Run a task in this process as a worker would; return its result or the error it failed with."""
    return task.apply(kwargs=kwargs, headers=headers or {}).result


@pytest.mark.parametrize("entry", cases("task:route"))
def test_a_bad_request_gives_its_code_and_has_no_effect(entry, target, register):
    register(target.url, name="L02_runtime")
    settings_with_credential = settings.HUB.model_copy(update={"request_credentials": '{"L02_runtime": "Bearer own"}'})
    first, kwargs = entry["input"].get("first"), expand(entry["input"]["kwargs"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "HUB", settings_with_credential)
        if first:
            run(route, first)
        error = run(route, kwargs, headers=entry["input"].get("headers"))

    assert isinstance(error, IntegrationError), error
    assert error.code == entry["code"]
    assert str(error).startswith(f"{entry['code']}: ")
    assert len(target.requests) == RoutedRequest.objects.count() == (1 if first else 0)


@pytest.mark.parametrize("entry", cases("task:broadcast"))
def test_a_bad_broadcast_gives_its_code_and_has_no_effect(entry, target, register):
    register(target.url, name="L02_runtime")

    error = run(broadcast, expand(entry["input"]["kwargs"]))

    assert isinstance(error, IntegrationError)
    assert error.code == entry["code"]
    assert target.requests == []


@pytest.mark.parametrize("entry", cases("target_answer"))
def test_a_bad_answer_gives_its_code_and_the_next_good_one_is_taken(entry, service, target):
    target.told = entry["input"]

    error = run(route, {"service_name": service, "method": "POST", "path": "/as-told"})

    assert isinstance(error, IntegrationError), error
    assert error.code == entry["code"]
    assert [path for _, path, _, _ in target.requests] == ["/as-told"]
    assert run(route, {"service_name": service, "method": "GET", "path": "/x"})["status_code"] == 200


def test_an_unknown_argument_is_refused(service):
    error = run(route, {"service_name": service, "method": "GET", "path": "/", "shout": True})

    assert error.code == "E11903"


@pytest.mark.parametrize("deadline", ["tomorrow", "2030-01-01T00:00:00", True, [], -5, 10**400])
def test_a_deadline_that_is_no_time_is_refused(service, deadline):
    assert run(route, {"service_name": service, "method": "GET", "path": "/", "deadline": deadline}).code == "E11909"


def test_a_message_that_waited_past_its_deadline_is_dropped_at_pickup(service, target):
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()

    error = run(route, {"service_name": service, "method": "GET", "path": "/"}, headers={"x-request-deadline": past})

    assert error.code == "E11309"
    assert target.requests == []


def test_the_deadline_of_the_message_shortens_the_request(service, target):
    soon = (datetime.now(UTC) + timedelta(seconds=0.3)).isoformat()
    started = time.monotonic()

    error = run(route, {"service_name": service, "method": "GET", "path": "/hang"}, headers={"x-request-deadline": soon})

    assert error.code == "E11342"
    assert time.monotonic() - started < 5


def test_the_headers_of_the_message_are_the_context_of_the_request(service, target):
    result = run(
        route,
        {"service_name": service, "method": "GET", "path": "/"},
        headers={"traceparent": TRACEPARENT, "x-correlation-id": "order-7", "tracestate": "a=1", "baggage": "user=7"},
    )

    sent = target.requests[0][2]
    assert (result["trace_id"], result["correlation_id"]) == (TRACEPARENT[3:35], "order-7")
    assert (sent["traceparent"][:35], sent["x-correlation-id"], sent["tracestate"], sent["baggage"]) == (
        TRACEPARENT[:35],
        "order-7",
        "a=1",
        "user=7",
    )


def test_a_malformed_traceparent_of_the_message_is_refused(service, target):
    error = run(route, {"service_name": service, "method": "GET", "path": "/"}, headers={"traceparent": "00-zz-11-01"})

    assert error.code == "E11310"
    assert target.requests == []


@pytest.mark.parametrize("sent_at", [10**400, -(10**400), float("-inf"), float("nan"), "yesterday", True])
def test_a_message_that_does_not_say_when_it_was_sent_waited_not_at_all(service, sent_at):
    result = run(route, {"service_name": service, "method": "GET", "path": "/"}, headers={SENT_AT: sent_at})

    assert result["decision"]["queued_ms"] == 0


def test_the_credential_of_a_service_is_sent_by_the_hub(service, target, settings):
    settings.HUB = settings.HUB.model_copy(update={"request_credentials": json.dumps({service: "Bearer own"})})

    run(route, {"service_name": service, "method": "GET", "path": "/"})

    assert target.requests[0][2]["authorization"] == "Bearer own"


@pytest.mark.django_db(transaction=True)
class TestWithAWorker:
    def test_a_plain_client_gets_the_whole_record(self, worker, target, register):
        name = register(target.url)
        client = Celery(broker=settings.REDIS_URL, backend=settings.REDIS_URL)

        result = client.send_task(
            "hub.requests.route",
            kwargs={"service_name": name, "method": "POST", "path": "/execute", "data": {"task": "x"}},
            queue="hub",
            headers={"traceparent": TRACEPARENT},
        ).get(timeout=20)

        assert set(result) >= {"status_code", "headers", "body", "service_id", "attempts", "duration_ms", "trace_id", "correlation_id"}
        assert result["body"]["body"] == '{"task":"x"}'
        assert result["trace_id"] == TRACEPARENT[3:35]
        assert target.requests[0][2]["traceparent"][3:35] == TRACEPARENT[3:35]

    def test_a_refusal_starts_with_its_code(self, worker):
        client = Celery(broker=settings.REDIS_URL, backend=settings.REDIS_URL)

        with pytest.raises(Exception, match=r"^E11301: ") as caught:
            client.send_task("hub.requests.route", args=["nobody", "CONNECT", "/"], queue="hub").get(timeout=20)

        assert type(caught.value).__name__ == "IntegrationError"


def test_the_tasks_are_registered_under_their_public_names():
    assert {"hub.requests.route", "hub.requests.broadcast"} <= set(app.tasks)
