"""`submit` and `submit_many`: what `send_task` would send, refused at the door or sent as a whole."""

import base64
import json
from urllib.parse import urlsplit

import pytest
import redis

from hub import IntegrationError, submit, submit_many
from hub.celery import app
from hub.redis_client import client
from hub.telemetry import tracing
from tests.chaos.faultproxy import in_between

QUEUE = "submitted"


@pytest.fixture(autouse=True)
def _no_messages():
    client().delete(QUEUE)


def messages():
    """Return the messages in the queue, oldest first, with readable bodies."""
    found = [json.loads(text) for text in reversed(client().lrange(QUEUE, 0, -1))]
    return [{**one, "body": json.loads(base64.b64decode(one["body"]))} for one in found]


def test_it_lies_in_the_queue_as_send_task_puts_it_there():
    with tracing.span("caller"):
        task_id = submit("l03.run", {"agent": "a", "password": "canary-1234"}, queue=QUEUE)
        app.send_task("l03.run", kwargs={"agent": "a", "password": "canary-1234"}, queue=QUEUE, task_id=task_id, ignore_result=True)

    ours, celerys = messages()
    for one in (ours, celerys):
        del one["headers"]["hub-sent-at"], one["properties"]["delivery_tag"]
    assert ours == celerys
    assert ours["headers"]["id"] == task_id
    assert "canary" not in json.dumps(ours["headers"])


@app.task(name="tests.sends_a_child")
def send_a_child(hand):
    hand("l03.run", {"page": 1}, queue=QUEUE)


def test_what_a_task_sends_knows_its_parent_as_with_send_task():
    for hand in (submit, lambda task, kwargs, queue: app.send_task(task, kwargs=kwargs, queue=queue)):
        send_a_child.apply(args=(hand,), task_id="parent")

    ours, celerys = ({name: one["headers"][name] for name in ("parent_id", "root_id")} for one in messages())
    assert ours == celerys == {"parent_id": "parent", "root_id": "parent"}


def test_each_of_many_is_what_send_task_makes_of_it():
    many = [{}, {"page": 1}, {"agent": "a", "password": "canary-1234"}]
    for task_id, kwargs in zip(submit_many("l03.run", many, queue=QUEUE), many, strict=True):
        app.send_task("l03.run", kwargs=kwargs, queue=QUEUE, task_id=task_id, ignore_result=True)

    found = messages()
    for one in found:
        del one["headers"]["hub-sent-at"], one["properties"]["delivery_tag"]
    assert found[:3] == found[3:]


def test_each_of_many_has_the_trace_and_its_own_moment_of_sending():
    with tracing.span("caller"):
        submit_many("l03.run", [{"page": page} for page in range(3)], queue=QUEUE)
        expected = tracing.traceparent()

    headers = [one["headers"] for one in messages()]
    assert [one["traceparent"] for one in headers] == [expected] * 3
    assert sorted(one["hub-sent-at"] for one in headers) == [one["hub-sent-at"] for one in headers]
    assert len({one["id"] for one in headers}) == 3


def pushes():
    return int(client().info("commandstats").get("cmdstat_lpush", {"calls": 0})["calls"])


@pytest.mark.usefixtures("no_worker")  # no other process pushes meanwhile
def test_many_are_sent_in_order_and_in_one_command():
    submit("l03.run", queue=QUEUE)
    client().delete(QUEUE)
    before = pushes()

    ids = submit_many("l03.run", [{"page": page} for page in range(1_000)], queue=QUEUE)

    assert [(one["headers"]["id"], one["body"][1]["page"]) for one in messages()] == list(zip(ids, range(1_000), strict=True))
    assert len(set(ids)) == 1_000
    assert pushes() - before == 1


def test_nothing_to_send_is_nothing_sent():
    assert submit_many("l03.run", [], queue=QUEUE) == []
    assert messages() == []


@pytest.mark.parametrize(
    ("task", "many", "queue", "code"),
    [
        ("", [{}], QUEUE, "E11902"),
        (7, [{}], QUEUE, "E11902"),
        ("l03.run", [{}], "", "E11902"),
        ("l03.run", [{}], "a\nb", "E11902"),
        ("l03.run", [{}, [1]], QUEUE, "E11902"),
        ("l03.run", [{}] * 1_001, QUEUE, "E11902"),
        ("l03.run", None, QUEUE, "E11902"),
        ("l03.run", "text", QUEUE, "E11902"),
        ("l03.run", {"page": 1}, QUEUE, "E11902"),
        ("l03.run", [""], QUEUE, "E11902"),
        ("l03.run", [{"x": "y" * 1_000_000}] * 17, QUEUE, "E11960"),
        ("l03.run", [{}, {"x": float("nan")}], QUEUE, "E11905"),
        ("l03.run", [{}, {1: "x"}], QUEUE, "E11905"),
        ("l03.run", [{}, {"x": object()}], QUEUE, "E11905"),
        ("l03.run", [{}, {"x": "y" * 1_048_577}], QUEUE, "E11960"),
    ],
)
def test_bad_input_is_refused_with_nothing_sent(task, many, queue, code):
    with pytest.raises(IntegrationError, match=f"^{code}: "):
        submit_many(task, many, queue=queue)

    assert messages() == []


def test_a_broker_that_is_away_is_said(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    with pytest.raises(IntegrationError, match=r"^E11941: ") as refused:
        submit("l03.run", {"agent": "a"}, queue=QUEUE)

    assert refused.value.__cause__ is not None
    assert isinstance(refused.value.__cause__, redis.RedisError)


def test_a_message_whose_answer_is_lost_is_not_sent_again(settings):
    with in_between(urlsplit(settings.REDIS_URL).port) as (proxy, port):
        settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
        proxy.obey({"mode": "lose_answer", "command": "LPUSH", "count": 1})

        with pytest.raises(IntegrationError, match=r"^E11941: "):
            submit("l03.charge", {"sum": 7}, queue=QUEUE)

        assert len(messages()) == 1
