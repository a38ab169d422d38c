"""Answers come back from whatever a layer's Celery sends."""

import base64
import json
import pickle
import zlib

import pytest
from celery import Signature

from hub.celery import app
from hub.events import answers
from hub.events.models import DeadLetter, Delivery
from hub.events.relay import Relay
from hub.redis_client import client
from tests.events.helpers import now, publish, relay_round, subscribed, under_way

pytestmark = pytest.mark.django_db(transaction=True)


def made(*, delivery_id="1", attempt="1", **headers):
    """An answer by hand, its numbers as JSON."""
    body = f'[[], {{"delivery_id": {delivery_id}, "attempt": {attempt}}}, null]'
    about = {"content-type": "application/json", "content-encoding": "utf-8"}
    return json.dumps({"body": body, "headers": {"task": answers.DELIVERED, **headers}, "properties": {}, **about})


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


def test_answers_that_wait_for_a_relay_that_was_away_are_all_read_before_anybody_is_given_up(monkeypatch):
    monkeypatch.setattr(answers, "BATCH", 2)
    subscribed(max_attempts=1, timeout_sec=1)
    publish("agent.a", "agent.b", "agent.c")
    relay_round()
    for row in under_way():
        client().rpop("l03")
        client().lpush(answers.QUEUE, made(delivery_id=str(row.pk)))
    Delivery.objects.update(due_at=now(minutes=-1))

    back = Relay()
    back.round(block_ms=0)
    back.round(block_ms=0)

    assert set(Delivery.objects.values_list("status", flat=True)) == {"delivered"}


def test_an_answer_to_a_delivery_that_a_restored_database_forgot_is_none_to_the_one_that_has_its_number_now(sent):
    """Its sequences start again from where the backup had them, and Redis still has what was said since."""
    publish("agent.after_the_restore")
    relay_round()
    Delivery.objects.filter(pk=sent.pk).delete()
    Delivery.objects.update(id=sent.pk)
    reply(answers.on_success(sent))
    reply(answers.on_failure(sent), "some-task")

    answers.take(now=now())

    assert Delivery.objects.get().status == "sending"
    assert client().llen(answers.QUEUE) == 0


@pytest.mark.parametrize("said", ["a\x00b", "no file 'x\udcff'"])
def test_a_failure_in_words_that_no_database_takes_is_recorded_all_the_same(sent, said):
    app.backend.store_result("some-task", ValueError(said), "FAILURE")
    reply(answers.on_failure(sent), "some-task")

    answers.take(now=now())

    letter = DeadLetter.objects.get()
    assert letter.error.startswith(f"ValueError: {said[:1]}")
    assert letter.delivery.history[0]["error"] == letter.error
    assert client().llen(answers.QUEUE) == 0


def test_a_failure_without_a_stored_error_is_still_a_failure(sent):
    reply(answers.on_failure(sent), "keeps-no-results")

    answers.take(now=now())

    assert DeadLetter.objects.get().error == answers.UNKNOWN


def test_a_failure_in_a_form_of_the_layers_own_holds_up_none(sent):
    app.backend.set("celery-task-meta-pickled", pickle.dumps({"status": "FAILURE", "result": "no"}))
    reply(answers.on_failure(sent), "pickled")

    assert answers.take(now=now()) == 1

    assert DeadLetter.objects.get().error == answers.UNKNOWN
    assert client().llen(answers.QUEUE) == 0


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
    [
        "no json",
        "[]",
        "{}",
        '{"body": "e30=", "headers": {"task": "x"}, "properties": {}, "content-type": "application/x-pickle"}',
        '{"body": "e30=", "headers": {"task": "x"}, "properties": [], "content-type": "application/json"}',
        made(delivery_id="1e999"),
        made(delivery_id=str(2**70)),
        made(delivery_id="-1"),
        made(attempt="true"),
        made(compression="application/x-gzip"),
    ],
)
def test_what_is_no_answer_is_dropped_and_holds_up_none(sent, text):
    client().lpush(answers.QUEUE, text)
    reply(answers.on_success(sent))

    assert answers.take(now=now()) == 2

    assert Delivery.objects.get().status == "delivered"
    assert client().llen(answers.QUEUE) == 0
