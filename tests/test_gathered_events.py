"""What workers tell Flower comes complete, a bundle at a time, also after the connection broke."""

import base64
import json

import pytest

from hub.celery import CONTROL, app
from hub.redis_client import client
from tests.processes import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]
TASK = "hub.control.prune_operator_actions"


class Told:
    """What is published of tasks, read as Flower reads it."""

    def __init__(self):
        self.bundles = []
        self._pubsub = client().pubsub(ignore_subscribe_messages=True)
        self._pubsub.psubscribe("/*celeryev*task.*")

    def succeeded(self):
        return self.ended("task-succeeded")

    def ended(self, *how):
        while message := self._pubsub.get_message(timeout=0.1):
            self.bundles.append(json.loads(base64.b64decode(json.loads(message["data"])["body"])))
        events = [event for bundle in self.bundles for event in (bundle if isinstance(bundle, list) else [bundle])]
        return [event["uuid"] for event in events if event["type"] in (how or ("task-succeeded", "task-failed"))]


@pytest.fixture
def told():
    return Told()


def send(number):
    """Send tasks that find nothing to do; their ids."""
    return {app.send_task(TASK, queue=CONTROL, ignore_result=True).id for _ in range(number)}


def test_many_events_come_in_few_messages(told, start_worker):
    ids = send(40)

    start_worker(queues=CONTROL)

    wait_until(lambda: set(told.succeeded()) >= ids, what="40 tasks told of")
    bundles = [bundle for bundle in told.bundles if isinstance(bundle, list)]
    assert len(bundles) < 40 <= sum(map(len, bundles))
    assert len(told.succeeded()) == len(set(told.succeeded()))


def test_they_come_again_after_the_connection_broke(told, start_worker):
    start_worker(queues=CONTROL)
    before = send(1)
    wait_until(lambda: set(told.succeeded()) >= before, what="the first task told of")

    client().client_kill_filter(_type="normal", skipme=True)
    after = send(1)

    wait_until(lambda: set(told.succeeded()) >= after, timeout_sec=20, what="the task after it told of")


def test_what_was_not_said_yet_is_said_when_the_worker_is_asked_to_end(told, start_worker):
    worker = start_worker(queues=CONTROL)
    last = app.send_task("hub.sagas.status", kwargs={"execution_id": "x"}, queue=CONTROL)
    with pytest.raises(Exception, match="E11908"):
        last.get(timeout=20)

    worker.stop()

    wait_until(lambda: last.id in told.ended(), timeout_sec=5, what="the last task told of")
