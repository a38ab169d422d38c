"""A layer that is a Celery worker is called as one that speaks HTTP."""

import json
import threading
import time
from urllib.parse import urlsplit

import pytest
from celery import Celery
from django.conf import settings

from hub.circuits import breaker
from hub.errors import IntegrationError, RequestFailed
from hub.redis_client import client
from hub.routing import queues, services
from hub.routing.attempts import Run, perform
from hub.routing.context import RequestContext
from hub.routing.queues import exchange, task_name
from registry_app import lookup
from registry_app import services as registry
from registry_app.models import Service
from registry_app.wire import Call
from tests.chaos.faultproxy import in_between
from tests.registry.samples import describe

pytestmark = pytest.mark.django_db


@pytest.fixture
def layer(layer_worker, register):
    layer_worker("tests.routing.layer", "l03", env={"BROKER_URL": settings.REDIS_URL})
    return register("celery://l03")


def test_one_call_for_all_that_it_can_do(layer):
    context = RequestContext.create(correlation_id="order-7")

    result = services.route(layer, "POST", "/l03/reserve", data={"order": 7}, params={"text": "hi"}, context=context, timeout=20)

    assert (result.status_code, result.attempts) == (200, 1)
    assert (result.body["order"], result.body["text"]) == (7, "hi")
    headers = result.body["headers"]
    assert headers["traceparent"][3:35] == context.trace_id
    assert headers["x-correlation-id"] == "order-7"
    assert headers["x-request-deadline"].endswith("+00:00")

    for path, code, outcome, status in [("/l03.fail", "E11344", "answered", 500), ("/l03.refuse", "E11345", "answered", 409)]:
        with pytest.raises(IntegrationError) as caught:
            services.route(layer, "POST", path, timeout=20)
        assert (caught.value.code, caught.value.outcome, caught.value.status_code) == (code, outcome, status)

    for _ in range(6):
        with pytest.raises(IntegrationError, match=r"l03\.resevre") as caught:
            services.route(layer, "POST", "/l03/resevre", data={"order": 7}, timeout=20)
        assert (caught.value.code, caught.value.outcome, caught.value.status_code) == ("E11345", "answered", 404)
    assert breaker.look(layer).state == "closed"

    started = time.monotonic()
    with pytest.raises(IntegrationError) as caught:
        services.route(layer, "POST", "/l03/slow", data={"seconds": 8}, timeout=0.5)
    assert (caught.value.code, caught.value.outcome) == ("E11342", "unknown")
    assert time.monotonic() - started < 5


def test_a_task_that_nobody_knows_ends_with_the_deadline(register):
    client().delete("nobody-reads-this")
    name = register("celery://nobody-reads-this")

    with pytest.raises(IntegrationError) as caught:
        services.route(name, "POST", "/l03/reserve", timeout=0.3)

    assert (caught.value.code, caught.value.outcome) == ("E11342", "unknown")
    [sent] = [json.loads(text)["headers"]["id"] for text in client().lrange("nobody-reads-this", 0, -1)]
    assert [one["task_id"] for one in caught.value.details["decision"]["attempts"]] == [sent]


def test_what_was_given_up_is_not_done_by_a_layer_that_comes_back(register, layer_worker, monkeypatch):
    monkeypatch.setattr(queues, "CLOCKS_DIFFER_SEC", 0)
    client().delete("l03.away", "done")
    name = register("celery://l03.away")
    with pytest.raises(IntegrationError, match=r"^E11342: "):
        services.route(name, "POST", "/l03/count", data={"key": "done"}, timeout=0.3)

    layer_worker("tests.routing.layer", "l03.away", env={"BROKER_URL": settings.REDIS_URL})

    assert services.route(name, "POST", "/l03/count", data={"key": "done"}, timeout=20).body == 1


def test_a_call_that_was_cancelled_before_it_was_sent_says_so_and_is_not_the_services_fault(register):
    client().delete("l03.idle")
    name = register("celery://l03.idle")
    build = services.build(service_name=name, method="POST", path="/l03/reserve")
    run = Run(request=build, context=RequestContext.create(), deadline=time.monotonic() + 5)
    run.cancellation.cancel()

    for _ in range(6):
        with pytest.raises(RequestFailed) as caught:
            perform(run)
        assert (caught.value.code, caught.value.outcome) == ("E11324", "nothing_sent")

    assert breaker.look(name).state == "closed"
    assert (breaker.look(name).failure_count, client().llen("l03.idle")) == (0, 0)


def test_a_deadline_that_has_just_passed_sends_nothing(register):
    client().delete("l03.idle")
    request = services.build(service_name=register("celery://l03.idle"), method="POST", path="/l03/reserve")
    call = Call(deadline=time.monotonic(), max_received=1)

    with pytest.raises(RequestFailed) as caught:
        exchange(call, request, endpoint="celery://l03.idle", headers={}, task_id="one")

    assert (caught.value.code, caught.value.outcome) == ("E11341", "nothing_sent")
    assert client().llen("l03.idle") == 0


@pytest.fixture
def redis_between(settings, monkeypatch):
    """What is told to a proxy between the calls of queues and the run's Redis."""
    with in_between(urlsplit(settings.REDIS_URL).port) as (proxy, port):
        url = settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
        monkeypatch.setattr(queues, "app", Celery(backend=url, set_as_current=False))
        yield proxy


@pytest.mark.parametrize("losses", [1, 9])
def test_a_task_whose_receipt_is_lost_is_not_sent_again_and_may_have_been_carried_out(register, redis_between, losses):
    client().delete("l03.idle")
    name = register("celery://l03.idle")
    redis_between.obey({"mode": "lose_answer", "command": "LPUSH", "count": losses})

    with pytest.raises(RequestFailed) as caught:
        services.route(name, "POST", "/l03/reserve", timeout=1)

    assert (caught.value.code, caught.value.outcome) == ("E11343", "unknown")
    assert client().llen("l03.idle") == 1


def test_a_broker_that_is_away_was_sent_nothing_and_holds_nobody(register, settings):
    name, settings.REDIS_URL = register("celery://l03.idle"), "redis://127.0.0.1:1/0"
    started = time.monotonic()

    with pytest.raises(RequestFailed) as caught:
        services.route(name, "POST", "/l03/reserve", timeout=1)

    assert (caught.value.code, caught.value.outcome) == ("E11340", "nothing_sent")
    assert time.monotonic() - started < 5


def test_an_answer_that_cannot_be_taken_off_is_an_answer_all_the_same(register, redis_between):
    name = register("celery://l03.idle")
    client().delete("l03.idle")
    redis_between.obey({"mode": "lose_answer", "command": "DEL", "count": 9})
    layer = threading.Thread(target=_answer_one, args=("l03.idle",))
    layer.start()

    result = services.route(name, "POST", "/l03/reserve", timeout=10)

    layer.join(10)
    assert result.body == {"reserved": True}


def _answer_one(queue):
    _, text = client().brpop(queue, timeout=4)
    task_id = json.loads(text)["headers"]["id"]
    meta = {"task_id": task_id, "status": "SUCCESS", "result": {"reserved": True}, "traceback": None, "children": []}
    client().set(f"celery-task-meta-{task_id}", json.dumps(meta), ex=60)


@pytest.mark.parametrize(("path", "task"), [("/l03/reserve", "l03.reserve"), ("/l03.reserve", "l03.reserve"), ("/a//b/", "a.b")])
def test_a_path_names_a_task(path, task):
    assert task_name(path) == task


def test_a_worker_that_registered_itself_is_called_by_its_queue(register):
    client().delete("l05.planning")
    name = register("celery://l05.planning/worker1@host")

    with pytest.raises(IntegrationError):
        services.route(name, "POST", "/l05/plan", timeout=0.2)

    assert client().llen("l05.planning") == 1
    assert not client().exists("l05.planning/worker1@host")


@pytest.mark.parametrize(
    ("queue", "path"),
    [("l03", "/hub/sagas/cancel"), ("l03", "/hub.control.prune_spans"), ("l03", "/celery/backend_cleanup"), ("hub.sagas", "/l03/reserve")],
)
def test_the_hubs_own_tasks_and_queues_are_no_service(register, queue, path):
    name = register("celery://l03")
    Service.objects.filter(service_name=name).update(endpoint=f"celery://{queue}")
    lookup.forget()
    before = client().llen(queue)

    with pytest.raises(IntegrationError) as caught:
        services.route(name, "POST", path, data={"execution_id": "x"}, timeout=0.3)

    assert caught.value.code == "E11080"
    assert client().llen(queue) == before


def test_a_refusal_after_a_failed_connect_leaves_no_doubt_that_nothing_was_sent(register, dead_url):
    name = register(dead_url, "celery://l03")
    dead = next(one.service_id for one in lookup.find(name) if one.endpoint == dead_url)

    with pytest.raises(RequestFailed) as caught:
        services.route(name, "POST", "/hub/sagas/cancel", prefer_service_id=dead)

    tries = [(one["code"], one["outcome"]) for one in caught.value.details["decision"]["attempts"]]
    assert tries == [("E11340", "nothing_sent"), ("E11080", "nothing_sent")]
    assert caught.value.outcome == "nothing_sent"


@pytest.mark.parametrize("endpoint", ["celery://hub", "celery://hub/worker@host", "celery://hub.sagas", "celery://hub.reply.events"])
def test_a_queue_of_the_hub_cannot_be_registered(endpoint):
    with pytest.raises(IntegrationError) as caught:
        registry.register(describe("me", endpoint))

    assert caught.value.code == "E11080"
    assert not Service.objects.filter(service_name="me").exists()
