"""A layer subscribes durably by itself, with a task: under its own name, and only there."""

import sys

import pytest
from celery import Celery
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hub import SagaDefinition, SagaStep
from hub.errors import IntegrationError
from hub.events import layers, subscriptions, tasks
from hub.events.models import Subscription
from sagas import listening
from tests.events.helpers import publish, queued, relay_round, subscribed
from tests.processes import LoggedProcess, hub_environment, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

TO_TASK = {"target": {"task": "l03.on_event", "queue": "l03"}}


def asked(source="L03_tools", name="agents", pattern="agent.*", **options):
    return tasks.subscribe(source, name, pattern, **(TO_TASK | options))


def rows():
    return list(Subscription.objects.order_by("name").values_list("name", "pattern", "kind"))


def test_a_layer_with_nothing_but_celery_subscribes_and_gets_what_is_published_from_then_on(start_worker, layer_worker, tmp_path):
    receipts = tmp_path / "receipts"
    receipts.touch()
    start_worker(queues="hub,hub.events", concurrency=1)
    relay = LoggedProcess("relay", [sys.executable, "manage.py", "relay"], env=hub_environment(), log_path=tmp_path / "relay.log")
    publish("agent.before")
    about = {"source_service": "L03_tools", "name": "agents", "pattern": "agent.*", **TO_TASK}
    with Celery(broker=settings.REDIS_URL, backend=settings.REDIS_URL, set_as_current=False) as layer:
        made = layer.send_task("hub.events.subscribe", kwargs=about, queue="hub").get(timeout=30)
    layer_worker("tests.events.layer", "l03", env={"RECEIPTS": str(receipts)})

    [event_id] = publish("agent.created")

    try:
        wait_until(receipts.read_text, timeout_sec=30, what="the event in the layer's worker")
    finally:
        relay.kill()
    assert made == {"name": "L03_tools:agents", "pattern": "agent.*", "target": "l03.on_event @ l03", "paused": False}
    assert receipts.read_text().split() == ["good", event_id]


def test_asked_again_at_each_start_it_stays_what_it_is():
    asked(policy={"max_attempts": 9})
    subscriptions.pause("L03_tools:agents")

    asked()
    assert asked(pattern="agent.**")["paused"] is True

    row = subscriptions.find("L03_tools:agents")
    assert (row.pattern, row.max_attempts, row.paused) == ("agent.**", 9, True)


def test_what_is_asked_for_again_unchanged_writes_nothing():
    asked()

    with CaptureQueriesContext(connection) as queries:
        asked()

    assert [query["sql"] for query in queries if not query["sql"].startswith("SELECT")] == []


def test_a_layer_touches_no_subscription_but_its_own():
    subscribed("l05.orders", "order.*")
    asked(source="L05")

    asked(source="L03", pattern="tool.*")
    tasks.unsubscribe("L03", "agents")

    assert rows() == [("L05:agents", "agent.*", "task"), ("l05.orders", "order.*", "task")]
    with pytest.raises(IntegrationError, match=r"^E11120: "):
        tasks.unsubscribe("L03", "agents")


def test_what_sagas_wait_for_is_no_layers_business():
    spec = SagaDefinition.create("paid", [SagaStep(step_id="w", wait_for="event:order.paid")]).spec()
    listening.listen_for(spec)

    for source in ("sagas", "SAGAS", "hub"):
        with pytest.raises(IntegrationError, match=r"^E11181: "):
            asked(source=source, name="order.paid")
        with pytest.raises(IntegrationError, match=r"^E11181: "):
            tasks.unsubscribe(source, "order.paid")

    assert rows() == [("sagas:order.paid", "order.paid", "handler")]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"source": ""}, "E11908"),
        ({"source": "L03:L05"}, "E11908"),
        ({"source": 3}, "E11908"),
        ({"name": "a b"}, "E11908"),
        ({"name": "a" * 61}, "E11908"),
        ({"pattern": "**"}, "E11164"),
        ({"pattern": "agent.(.+)+$"}, "E11105"),
        ({"pattern": None}, "E11105"),
        ({"target": None}, "E11106"),
        ({"target": {}}, "E11106"),
        ({"target": "l03.on_event"}, "E11106"),
        ({"target": {"task": "l03.on_event"}}, "E11106"),
        ({"target": {"task": None, "queue": None}}, "E11106"),
        ({"target": {"task": ["l03"], "queue": "l03"}}, "E11106"),
        ({"target": {"task": "hub.sagas.start", "queue": "hub"}}, "E11106"),
        ({"target": {"task": "l03.on_event", "queue": "hub"}}, "E11106"),
        ({"target": {"task": "l03.on_event", "queue": "hub.reply.events"}}, "E11106"),
        ({"target": {"task": "l03.on_event", "queue": "hub:roster"}}, "E11106"),
        ({"target": {"task": "l03.on_event", "queue": "l03", "service_name": "L03"}}, "E11106"),
        ({"target": {"service_name": "L03", "path": "//evil"}}, "E11106"),
        ({"target": {"service_name": "L03", "path": "/x", "method": "GET"}}, "E11106"),
        ({"target": {"handler": "hub.sagas.event_came"}}, "E11106"),
        ({"policy": []}, "E11902"),
        ({"policy": {"max_attempts": 0}}, "E11902"),
        ({"policy": {"max_attempts": 1.5}}, "E11902"),
        ({"policy": {"timeout_sec": float("nan")}}, "E11902"),
        ({"policy": {"ordering": 3}}, "E11902"),
        ({"policy": {"ordering": "key", "ordering_key": "k" * 65}}, "E11902"),
        ({"policy": {"ordering": "key", "ordering_key": 7}}, "E11902"),
        ({"policy": {"colour": "red"}}, "E11903"),
        ({"colour": "red"}, "E11903"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_made(wrong, code):
    with pytest.raises(IntegrationError, match=f"^{code}: "):
        asked(**wrong)

    assert rows() == []


def test_one_layer_leaves_room_for_others(settings):
    settings.HUB = settings.HUB.model_copy(update={"event_max_subscriptions": 20})
    asked(name="a"), asked(name="b")

    with pytest.raises(IntegrationError, match=r"^E11161: L03_tools has 2 subscriptions"):
        asked(name="c")

    asked(name="b", pattern="agent.**")
    asked(source="L05")


def test_who_runs_the_hub_does_it_by_a_command():
    call_command("events", "subscribe", "l03.agents", "agent.*", "--task", "l03.on_event", "--queue", "l03")
    relay_round()
    publish("agent.created")
    relay_round()
    assert [headers["task"] for headers in queued("l03")] == ["l03.on_event"]

    call_command("events", "subscribe", "audit", "**", "--service", "L09_audit", "--path", "/events", "--everything")
    call_command("events", "unsubscribe", "l03.agents")

    assert rows() == [("audit", "**", "http")]
    with pytest.raises(CommandError, match=r"^E11106: a target has a task and its queue, or a service_name and its path, not nothing"):
        call_command("events", "subscribe", "x", "agent.*")


def test_layers_are_named_as_they_are_registered():
    assert layers.subscribe("L10_gateway.v2", "a", "agent.*", **TO_TASK)["name"] == "L10_gateway.v2:a"
