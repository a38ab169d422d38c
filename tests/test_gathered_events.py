"""What workers tell Flower comes complete, a bundle at a time, also after the connection broke."""

import base64
import json
from types import SimpleNamespace

import pytest

from hub.celery import CONTROL, app
from hub.gathered_events import GatherEvents
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
        while message := self._pubsub.get_message(timeout=0.1):
            self.bundles.append(json.loads(base64.b64decode(json.loads(message["data"])["body"])))
        events = [event for bundle in self.bundles for event in (bundle if isinstance(bundle, list) else [bundle])]
        return [event["uuid"] for event in events if event["type"] == "task-succeeded"]


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


class Loop:
    """An event loop whose time has not come yet."""

    def __init__(self):
        self.due = []

    def call_later(self, seconds, work):
        self.due.append(work)


def test_what_was_not_said_yet_is_said_when_the_worker_ends(told):
    loop = Loop()
    with app.connection_for_write() as connection:
        dispatcher = app.events.Dispatcher(connection, buffer_group=["task"], on_send_buffered=lambda: None)
        consumer = SimpleNamespace(hub=loop, event_dispatcher=dispatcher)
        step = GatherEvents(consumer)
        step.start(consumer)
        for number in range(3):
            dispatcher.send("task-succeeded", uuid=f"task-{number}")
        assert (told.succeeded(), len(loop.due)) == ([], 1)

        step.shutdown(consumer)

        wait_until(lambda: told.succeeded() == ["task-0", "task-1", "task-2"], what="all three told of")
