"""Hand-made messages are what Celery itself would send, and answers come back from whatever a layer's Celery sends."""

import base64
import json
import zlib

import pytest
from celery import Signature

from hub.celery import app
from hub.events import answers, broker
from hub.events.broker import TaskMessage
from hub.events.models import DeadLetter, Delivery
from hub.redis_client import client
from hub.telemetry import tracing
from tests.events.helpers import now, publish, relay_round, subscribed, under_way

pytestmark = pytest.mark.django_db(transaction=True)


def in_queue(name):
    """Return the messages of a queue with their bodies readable, newest first."""
    found = [json.loads(text) for text in client().lrange(name, 0, -1)]
    return [{**one, "body": json.loads(base64.b64decode(one["body"]))} for one in found]


def without_chance(message):
    """Drop what differs between any two messages, and copies of headers that nobody reads."""
    headers = {name: value for name, value in message["headers"].items() if name not in ("hub-sent-at", "traceparent")}
    properties = {name: value for name, value in message["properties"].items() if name not in ("delivery_tag", "argsrepr", "kwargsrepr")}
    return {**message, "headers": headers, "properties": properties}


def test_a_letter_is_what_send_task_puts_into_the_queue():
    subscribed()
    publish()
    relay_round()
    [row] = under_way()
    links = {"link": answers.on_success(row), "link_error": answers.on_failure(row)}
    app.send_task("l03.run", kwargs={"event": {"a": 1}}, queue="compared", task_id="one", argsrepr="()", kwargsrepr="{}", **links)

    broker.post(
        [
            broker.letter(
                TaskMessage(
                    task="l03.run",
                    queue="compared",
                    task_id="one",
                    kwargs={"event": {"a": 1}},
                    link=(links["link"],),
                    link_error=(links["link_error"],),
                )
            )
        ]
    )

    ours, celerys = in_queue("compared")
    assert without_chance(ours) == without_chance(celerys)
    assert ours["properties"]["delivery_tag"] != celerys["properties"]["delivery_tag"]


def test_a_letter_carries_the_current_trace():
    with tracing.span("publisher"):
        traceparent = tracing.traceparent()
        letter = broker.letter(TaskMessage(task="l03.run", queue="l03", task_id="one", kwargs={}))

    assert json.loads(letter.text)["headers"]["traceparent"] == traceparent


def test_many_letters_lie_in_their_queues_in_order():
    broker.post([broker.letter(TaskMessage(task="t", queue=f"q{n % 2}", task_id=str(n), kwargs={})) for n in range(6)])

    assert [one["headers"]["id"] for one in reversed(in_queue("q0"))] == ["0", "2", "4"]
    assert [one["headers"]["id"] for one in reversed(in_queue("q1"))] == ["1", "3", "5"]


@pytest.fixture
def sent():
    """A delivery that is under way and whose subscriber has not answered."""
    subscribed(max_attempts=1)
    publish()
    relay_round()
    return under_way()[0]


def reply(signature, *args):
    """Answer as the subscriber's worker does."""
    Signature.from_dict(signature, app=app).apply_async(args)


def test_a_success_ends_the_delivery_and_leaves_the_reply_queue(sent):
    reply(answers.on_success(sent))

    assert answers.take(now=now()) == 1

    assert Delivery.objects.get().status == "delivered"
    assert client().llen(answers.QUEUE) == 0


def test_a_failure_says_what_the_message_left_in_the_result_backend(sent):
    app.backend.store_result("some-task", ValueError("no such agent"), "FAILURE")
    reply(answers.on_failure(sent), "some-task")

    answers.take(now=now())

    assert DeadLetter.objects.get().error == "ValueError: no such agent"
    assert app.backend.get("celery-task-meta-some-task") is None


def test_a_failure_without_a_stored_error_is_still_a_failure(sent):
    reply(answers.on_failure(sent), "keeps-no-results")

    answers.take(now=now())

    assert DeadLetter.objects.get().error == answers.UNKNOWN


def test_an_answer_that_is_recorded_twice_changes_nothing(sent):
    reply(answers.on_success(sent))
    text = client().lindex(answers.QUEUE, 0)
    answers.take(now=now())
    client().lpush(answers.QUEUE, text)

    assert answers.take(now=now()) == 1
    assert Delivery.objects.filter(status="delivered").count() == 1


def test_a_layer_may_compress_its_messages(sent):
    reply(answers.on_success(sent))
    message = json.loads(client().rpop(answers.QUEUE))
    message["body"] = base64.b64encode(zlib.compress(base64.b64decode(message["body"]))).decode()
    message["headers"]["compression"] = "application/x-gzip"
    client().lpush(answers.QUEUE, json.dumps(message))

    answers.take(now=now())

    assert Delivery.objects.get().status == "delivered"


@pytest.mark.parametrize(
    "text",
    ["no json", "[]", "{}", '{"body": "e30=", "headers": {"task": "x"}, "properties": {}, "content-type": "application/x-pickle"}'],
)
def test_what_is_no_answer_is_dropped_and_holds_up_none(sent, text):
    client().lpush(answers.QUEUE, text)
    reply(answers.on_success(sent))

    assert answers.take(now=now()) == 2

    assert Delivery.objects.get().status == "delivered"
    assert client().llen(answers.QUEUE) == 0
