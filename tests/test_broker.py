"""Hand-made messages are what Celery itself would send."""

import base64
import json

import pytest
from celery import chain, signature
from celery.app.task import Context

from hub import broker
from hub.broker import TaskMessage
from hub.celery import app
from hub.redis_client import client
from hub.telemetry import tracing

QUEUE = "compared"


@pytest.fixture(autouse=True)
def _no_messages():
    client().delete(QUEUE)


def in_queue(name=QUEUE):
    """Return the messages of a queue with their bodies readable, newest first."""
    found = [json.loads(text) for text in client().lrange(name, 0, -1)]
    return [{**one, "body": json.loads(base64.b64decode(one["body"]))} for one in found]


def without_chance(message):
    """Drop what differs between any two messages, and copies of headers that nobody reads."""
    headers = {name: value for name, value in message["headers"].items() if name not in ("hub-sent-at", "traceparent")}
    properties = {name: value for name, value in message["properties"].items() if name not in ("delivery_tag", "argsrepr", "kwargsrepr")}
    return {**message, "headers": headers, "properties": properties}


def named(message):
    """Return a message with its links' chosen ids replaced by the order in which they come."""
    text = json.dumps(without_chance(message))
    ids = [message["headers"]["id"], *(link["options"]["task_id"] for link in message["body"][2]["chain"] or [])]
    for number, id_ in enumerate(ids):
        text = text.replace(id_, f"id-{number}")
    return json.loads(text)


def on_error():
    return app.signature("l03.failed", kwargs={"run": 1}, queue=QUEUE, ignore_result=True)


def link(number):
    made = app.signature("l03.run", kwargs={"index": number}, immutable=True, queue=QUEUE, ignore_result=True)
    made.link_error(on_error())
    return made.set(time_limit=32.0)


def test_a_letter_is_what_send_task_puts_into_the_queue():
    links = {"link": on_error(), "link_error": on_error()}
    app.send_task("l03.run", kwargs={"event": {"a": 1}}, queue=QUEUE, task_id="one", headers={"x-correlation-id": "c"}, **links)

    message = TaskMessage(
        task="l03.run",
        queue=QUEUE,
        task_id="one",
        kwargs={"event": {"a": 1}},
        link=(links["link"],),
        link_error=(links["link_error"],),
        headers={"x-correlation-id": "c"},
    )
    broker.post([broker.letter(message)])

    ours, celerys = in_queue()
    assert without_chance(ours) == without_chance(celerys)
    assert ours["properties"]["delivery_tag"] != celerys["properties"]["delivery_tag"]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_linked_tasks_are_sent_as_a_chain_is(length):
    with tracing.span("publisher"):
        chain(*[link(number) for number in range(length)]).apply_async()
        broker.post([broker.chained([link(number) for number in range(length)])])

    ours, celerys = in_queue()
    assert named(ours) == named(celerys)


@pytest.mark.parametrize("length", [2, 5])
def test_the_next_link_is_sent_as_celery_sends_it_behind_a_task_that_succeeded(length):
    with tracing.span("publisher"):
        broker.post([broker.chained([link(number) for number in range(length)])])
    [first] = in_queue()
    rest, root_id = first["body"][2]["chain"], first["headers"]["root_id"]
    # As `trace_task` does after a task has succeeded.
    signature(rest[-1], app=app).apply_async((None,), chain=rest[:-1], parent_id=first["headers"]["id"], root_id=root_id)

    broker.post([broker.following(Context(id=first["headers"]["id"], root_id=root_id, chain=rest))])

    ours, celerys, _ = in_queue()
    assert named(ours) == named(celerys)
    assert ours["body"][1] == {"index": 1}
    assert ours["headers"]["traceparent"] == celerys["headers"]["traceparent"] == first["headers"]["traceparent"]


def test_a_letter_carries_the_current_trace():
    with tracing.span("publisher"):
        traceparent = tracing.traceparent()
        letter = broker.letter(TaskMessage(task="l03.run", queue="l03", task_id="one", kwargs={}))

    assert json.loads(letter.text)["headers"]["traceparent"] == traceparent


def test_what_is_shown_of_a_letter_has_no_secrets():
    letter = broker.letter(TaskMessage(task="l03.run", queue="l03", task_id="one", kwargs={"password": "canary-1234"}))

    assert "canary" not in json.dumps(json.loads(letter.text)["headers"])


def test_many_letters_lie_in_their_queues_in_order():
    client().delete("q0", "q1")

    broker.post([broker.letter(TaskMessage(task="t", queue=f"q{n % 2}", task_id=str(n), kwargs={})) for n in range(6)])

    assert [one["headers"]["id"] for one in reversed(in_queue("q0"))] == ["0", "2", "4"]
    assert [one["headers"]["id"] for one in reversed(in_queue("q1"))] == ["1", "3", "5"]
