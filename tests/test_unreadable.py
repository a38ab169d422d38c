"""A message that no task can be made of ends no worker: it is put aside, and the next one is taken."""

import base64
import json
import re
from uuid import uuid4

import pytest
from celery import Celery
from django.conf import settings

from hub.celery import PUBLIC
from hub.redis_client import client
from hub.unreadable import MAX_DEPTH, is_deeper

TASK = "hub.registry.lookup"
PROPERTIES = {"delivery_info": {"exchange": "", "routing_key": PUBLIC}, "body_encoding": "base64"}
pytestmark = pytest.mark.django_db(transaction=True)


def nested(depth):
    return json.loads("[" * depth + "]" * depth)


def message(body=None, *, raw=None, without=(), properties=None, **headers):
    """Return a task message as Celery puts it into a queue, with something wrong."""
    known = {"task": TASK, "id": str(uuid4()), "retries": 0, "timelimit": [None, None], "eta": None, "expires": None} | headers
    text = json.dumps([[], {"service_name": "nobody"}, {}] if body is None else body) if raw is None else raw
    whole = {
        "body": base64.b64encode(text.encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {name: value for name, value in known.items() if name not in without},
        "properties": PROPERTIES | {"delivery_tag": str(uuid4())} if properties is None else properties,
    }
    return json.dumps(whole)


NONE = {
    "deep arguments": message([[nested(600)], {}, {}]),
    "a deep header": message(more=nested(600)),
    "a deep body of protocol 1": message(raw=json.dumps({"task": TASK, "id": "1", "args": [nested(600)], "kwargs": {}}), without=["task"]),
    "no id": message(without=["id"]),
    "an id that is a list": message(id=[]),
    "a task that is a list": message(task=[]),
    "a body of one": message([1]),
    "a body that is null": message(raw="null"),
    "a limit that is no pair": message(timelimit=5),
    "limits that are texts": message(timelimit=["a", "b"]),
    "an expiry that is an object": message(expires={}),
    "stamps that are a number": message(stamped_headers=5),
    "no properties": message(properties={}),
    "a deep property": message(properties={"reply_to": nested(600)} | PROPERTIES | {"delivery_tag": "2"}),
    "no queue": message(properties={"delivery_tag": "1", "delivery_info": {}, "body_encoding": "base64"}),
    "no JSON": "rubbish",
    "no object": "[]",
    "an object with nothing in it": "{}",
    "JSON too deep to read": "[" * 100_000,
}


@pytest.fixture
def layer():
    with Celery(broker=settings.REDIS_URL, backend=settings.REDIS_URL, set_as_current=False) as app:
        yield app


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_no_message_ends_a_worker(no_worker, start_worker, layer, pool):
    worker = start_worker(queues=PUBLIC, concurrency=1, pool=pool)

    for sent in NONE.values():
        client().lpush(PUBLIC, sent)
    answer = layer.send_task(TASK, kwargs={"service_name": "nobody"}, queue=PUBLIC)

    with pytest.raises(Exception, match="E11020: "):
        answer.get(timeout=30)
    assert worker.is_alive()
    # Not back in the queue, nor noted for another worker.
    assert (client().llen(PUBLIC), client().hlen("unacked")) == (0, 0)
    assert len(re.findall("put aside|was dropped", worker.log())) == len(NONE)


def test_who_sent_arguments_that_are_too_deep_is_told(worker, layer):
    answer = layer.send_task(TASK, kwargs={"service_name": nested(600)}, queue=PUBLIC)

    with pytest.raises(Exception, match="E11906: "):
        answer.get(timeout=30)


def test_a_value_is_as_deep_as_its_deepest_part():
    assert not is_deeper({"a": [nested(MAX_DEPTH - 1)], "b": [1] * 1000}, MAX_DEPTH)
    assert is_deeper({"a": [nested(MAX_DEPTH)]}, MAX_DEPTH)
