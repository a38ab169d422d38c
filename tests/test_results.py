"""Results are stored as Celery stores them; only the question before a success is left out."""

import json
import uuid

import pytest
from celery import states
from celery.backends.redis import RedisBackend

from hub.celery import app
from hub.redis_client import client

# No other process asks the Redis of these tests anything.
pytestmark = pytest.mark.usefixtures("no_worker")


@pytest.fixture
def task_id():
    return str(uuid.uuid4())


def stored(task_id):
    return json.loads(client().get(f"celery-task-meta-{task_id}")) | {"date_done": ""}


def commands_of(name):
    return int(client().info("commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"])


def test_a_success_is_stored_as_celery_does_and_asks_nothing(task_id):
    plain = RedisBackend(app=app, url=app.backend.url)
    plain.store_result(task_id, {"answer": [1, "é"]}, states.SUCCESS)
    celerys, asked = stored(task_id), commands_of("get")
    client().delete(f"celery-task-meta-{task_id}")

    app.backend.store_result(task_id, {"answer": [1, "é"]}, states.SUCCESS)

    assert commands_of("get") == asked
    assert stored(task_id) == celerys
    assert app.AsyncResult(task_id).get(timeout=5) == {"answer": [1, "é"]}
    assert 0 < client().ttl(f"celery-task-meta-{task_id}") <= 3600


def test_the_failure_of_a_lost_copy_does_not_hide_a_success(task_id):
    app.backend.store_result(task_id, "done", states.SUCCESS)

    app.backend.store_result(task_id, ValueError("a copy"), states.FAILURE)

    assert app.AsyncResult(task_id).get(timeout=5) == "done"


def test_a_success_replaces_a_failure(task_id):
    app.backend.store_result(task_id, ValueError("first try"), states.FAILURE)

    app.backend.store_result(task_id, "done", states.SUCCESS)

    assert app.AsyncResult(task_id).get(timeout=5) == "done"
