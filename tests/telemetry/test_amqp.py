import base64
import json

import pytest
from celery import Celery
from django.conf import settings

from hub.redis_client import client


@pytest.fixture
def app():
    client().flushdb()
    with Celery(broker=settings.REDIS_URL, amqp="hub.telemetry.amqp:RedactingAMQP", set_as_current=False) as app:
        app.conf.task_send_sent_event = True
        yield app


def test_secrets_are_in_the_message_and_not_in_what_is_shown_of_it(app):
    pubsub = client().pubsub()
    pubsub.psubscribe("/*celeryev*")
    pubsub.get_message(timeout=2)

    app.send_task("l03.run", args=["Bearer canary-1234-canary"], kwargs={"password": "canary-1234", "agent": "a"}, queue="l03")

    message = json.loads(client().lindex("l03", 0))
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert (args, kwargs["password"]) == (["Bearer canary-1234-canary"], "canary-1234")
    assert message["headers"]["kwargsrepr"] == "{'password': '[redacted]', 'agent': 'a'}"
    assert "canary" not in json.dumps(message["headers"])
    sent = pubsub.get_message(timeout=2)
    assert sent is not None
    assert "canary" not in sent["data"]
    assert "canary" not in base64.b64decode(json.loads(sent["data"])["body"]).decode()


def test_what_a_sender_chose_to_show_stays(app):
    app.send_task("l03.run", kwargs={"event": {}}, argsrepr="()", kwargsrepr="{'event': 'e-1'}", queue="l03")

    assert json.loads(client().lindex("l03", 0))["headers"]["kwargsrepr"] == "{'event': 'e-1'}"
