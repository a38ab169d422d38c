"""What a caller of the API can send to a service, and what it hears of it."""

import base64
import time

import pytest
from django.conf import settings

from tests.registry import samples

pytestmark = pytest.mark.django_db


def test_a_failed_request_says_whether_anything_was_sent(caller, target):
    samples.register(endpoint=target.url)

    problem = caller.post("/requests", {"service_name": "L02_runtime", "method": "POST", "path": "/status/500"}).json()

    assert problem["outcome"] in ("answered", "unknown")
    assert problem["status_code"] == 500


def test_as_many_bytes_may_be_sent_as_a_request_may_have_however_json_writes_them(caller, target):
    samples.register(endpoint=target.url)
    wish = {"service_name": "L02_runtime", "method": "POST", "path": "/echo"}
    most = settings.HUB.request_max_body_bytes

    sent = caller.post("/requests", {**wish, "data": {"$base64": base64.b64encode(b"x" * most).decode()}})
    more = caller.post("/requests", {**wish, "data": {"$base64": base64.b64encode(b"x" * (most + 1)).decode()}})

    assert (sent.status_code, len(target.requests[0][3])) == (200, most), sent.content[:200]
    assert more.json()["code"] == "E11360"


def test_a_caller_hears_what_the_service_said_and_when_to_come_back(caller, target):
    samples.register(endpoint=target.url)
    wish = {"method": "POST", "path": "/status/409"}

    no = caller.post("/requests", {"service_name": "L02_runtime", **wish}).json()
    [many] = caller.post("/broadcasts", {"service_names": ["L02_runtime"], **wish}).json().values()
    busy = caller.post("/requests", {"service_name": "L02_runtime", "method": "POST", "path": "/busy"})

    assert (no["status_code"], no["body"]) == (409, {"reason": "as asked"})
    assert (many["error"]["status_code"], many["error"]["body"]) == (409, {"reason": "as asked"})
    assert (busy.json()["code"], busy.json()["retry_after_sec"], busy["Retry-After"]) == ("E11350", 30, "30")


def test_a_deadline_that_passed_is_refused_before_anything_is_sent(caller, target):
    samples.register(endpoint=target.url)
    wish = {"service_name": "L02_runtime", "method": "GET", "path": "/echo"}

    assert caller.post("/requests", {**wish, "deadline": "2020-01-31T12:00:00Z"}).json()["code"] == "E11309"
    assert caller.post("/requests", {**wish, "deadline": "tomorrow"}).json()["code"] == "E11909"
    assert caller.post("/requests", {**wish, "idempotency_key": "a"}, Idempotency_Key="b").json()["code"] == "E11306"
    assert target.requests == []


def test_a_service_that_hands_its_own_deadline_on_is_not_worked_for_any_longer(caller, target):
    samples.register(endpoint=target.url)
    wish = {"service_name": "L02_runtime", "method": "GET", "path": "/echo"}

    def left(said, **members):
        assert caller.post("/requests", wish | members, X_Request_Deadline=said).status_code == 200
        return float(target.requests[-1][2]["x-request-deadline"])

    assert 1 < left("2.5") <= 2.5
    assert left("20", timeout=1.5) <= 1.5
    assert left("20", deadline=time.time() + 3) <= 3
    assert left("1", deadline=time.time() + 30) <= 1
    target.requests.clear()
    assert caller.post("/requests", wish, X_Request_Deadline="0").json()["code"] == "E11309"
    assert caller.post("/requests", wish, X_Request_Deadline="soon").json()["code"] == "E11909"
    assert target.requests == []
