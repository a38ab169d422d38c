"""What a worker that registers itself sends, and when."""

import base64
import json
from types import SimpleNamespace

import pytest
from celery import Celery
from django.conf import settings

from hub.redis_client import client
from registry_app.bootstep import BEATS_PER_REGISTRATION, registered_at_hub

pytestmark = pytest.mark.usefixtures("no_worker")
REGISTER, BEAT = "hub.registry.register", "hub.registry.heartbeat"


@pytest.fixture
def worker():
    client().delete("hub")
    with Celery("l05", broker=settings.REDIS_URL, set_as_current=False) as app:
        yield SimpleNamespace(app=app, hostname="l05@test")
    client().delete("hub")


@pytest.fixture
def step(worker):
    return registered_at_hub("L05_planning", "0.2.0")(worker)


def sent():
    """Return the names of what waits for the hub, in the order in which it was sent."""
    return [json.loads(message)["headers"]["task"] for message in reversed(client().lrange("hub", 0, -1))]


def test_it_says_who_it_is_now_and_then_and_leaves_out_no_beat(worker, step):
    for _ in range(BEATS_PER_REGISTRATION + 2):
        step._beat(worker)

    assert sent() == [REGISTER, *[BEAT] * BEATS_PER_REGISTRATION, REGISTER, BEAT]


def test_a_registration_that_could_not_be_sent_is_sent_with_the_next_beat(worker, step):
    with Celery("l05", broker="redis://127.0.0.1:1", set_as_current=False) as cut_off:
        step._beat(SimpleNamespace(app=cut_off, hostname=worker.hostname))

    step._beat(worker)
    step._beat(worker)

    assert sent() == [REGISTER, BEAT]


def test_a_task_whose_name_is_no_label_keeps_nobody_from_registering(worker, step):
    deep = "agents.planning.workflows.weekly.reports.tasks.generate_and_send_all"
    for name in ("l05.plan", deep, "l05.<locals>.plan"):
        worker.app.task(sent, name=name)

    step._beat(worker)

    _, kwargs, _ = json.loads(base64.b64decode(json.loads(client().lindex("hub", 0))["body"]))
    known = kwargs["service"]["capabilities"]
    assert [name for name in known if name.startswith(("l05.", "agents."))] == ["l05.plan"]
