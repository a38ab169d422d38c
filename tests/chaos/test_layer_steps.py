"""Steps that live in a layer's own queue: a plain Celery worker that knows nothing of the hub."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
import redis

from tests.chaos.saga_samples import QUEUE
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

ALL_DONE = ["a.do", "b.do", "c.do", "d.do", "e.do"]


def test_tasks_of_a_layer_are_run_in_order_and_their_results_are_the_context(brisk, layer):
    found = brisk.run("chaos_tasks")

    assert found["status"] == "completed"
    assert brisk.effects(found["execution_id"]) == ALL_DONE
    assert found["context"]["e_done"] == 1


def test_a_layer_that_refuses_turns_the_saga_back_at_once(brisk, layer):
    found = brisk.run("chaos_tasks", c="refuse")

    assert (found["status"], found["cause"]) == ("compensated", "refused")
    assert found["steps"][2]["attempts"] == 1
    assert brisk.effects(found["execution_id"]) == ["a.do", "b.do", "b.undo", "a.undo"]


def test_a_layer_that_fails_is_tried_again_and_then_undone(brisk, layer):
    found = brisk.run("chaos_tasks", c_layer="fail")

    assert (found["status"], found["cause"]) == ("compensated", "step_failed")
    assert found["steps"][2]["attempts"] == 5
    # Its message may have come twice, and the other copy may have acted: so it is undone too.
    assert brisk.effects(found["execution_id"]) == ["a.do", "b.do", "c.undo", "b.undo", "a.undo"]


def test_a_layer_that_does_not_know_how_it_ended_is_asked_again_with_the_same_key(brisk, layer):
    found = brisk.run("chaos_tasks", c="lost once")

    assert found["status"] == "completed"
    assert brisk.effects(found["execution_id"]) == ALL_DONE
    assert brisk.at_target(found["execution_id"]).count("c.do replayed") == 1


def test_a_layer_whose_process_dies_is_asked_again(brisk, layer):
    found = brisk.run("chaos_tasks", c_layer="die once")

    assert found["status"] == "completed"
    assert brisk.effects(found["execution_id"]) == ALL_DONE


def test_a_layer_worker_killed_in_the_middle_is_waited_for(brisk, layer):
    execution_id = brisk.start("chaos_tasks", c_layer="sleep")
    wait_until(lambda: "b.do applied" in brisk.at_target(execution_id), timeout_sec=15, what="step b")

    layer.kill()
    layer.start()

    assert brisk.ended(execution_id)["status"] == "completed"
    assert brisk.effects(execution_id) == ALL_DONE


@pytest.mark.parametrize("harm", ["revoked", "expired", "lost"])
def test_a_layer_task_that_is_dropped_is_sent_again(brisk, layer, harm):
    with brisk.client() as app:
        for _ in range(2):  # one to run and one to wait in the worker, so that the next stays in the queue
            app.send_task("chaos.nap", args=[4.0], queue=QUEUE)
    execution_id = brisk.start("chaos_tasks")
    client = redis.Redis.from_url(brisk.redis_url)

    message = wait_until(lambda: _waiting(client, execution_id), timeout_sec=10, what="the layer's message")
    _harm(brisk, client, message, harm)

    found = brisk.ended(execution_id)
    assert found["status"] == "completed"
    assert found["steps"][0]["attempts"] >= 2
    assert brisk.effects(execution_id) == ALL_DONE


def _waiting(client, execution_id):
    messages = client.lrange(QUEUE, 0, -1)
    return next((message for message in messages if execution_id in json.loads(message)["headers"].get("X-Hub-Saga", "")), None)


def _harm(brisk, client, message, harm):
    content = json.loads(message)
    if harm == "revoked":
        with brisk.client() as app:
            app.control.revoke(content["headers"]["id"])
        return
    assert client.lrem(QUEUE, 1, message) == 1
    if harm == "expired":
        content["headers"]["expires"] = "2001-01-01T00:00:00+00:00"
        client.lpush(QUEUE, json.dumps(content))


def test_a_task_name_that_nobody_knows_parks_the_saga_with_the_name_within_seconds(brisk, layer):
    began = time.monotonic()

    found = brisk.run("chaos_typo")

    assert found["status"] == "needs_operator"
    assert found["error"]["code"] == "E11431"
    assert "chaos.no_such_task" in found["error"]["message"]
    assert time.monotonic() - began < 15
    assert brisk.effects(found["execution_id"]) == ["a.do"]


@pytest.mark.slow
def test_a_queue_that_nobody_reads_is_waited_for_and_then_named(brisk, layer):
    layer.kill()

    # Each look at who is there waits for answers that do not come, and a run is only parked after several.
    found = brisk.ended(brisk.start("chaos_tasks"), timeout_sec=90)

    assert found["status"] == "needs_operator"
    assert QUEUE in found["error"]["message"]


def test_a_pool_child_of_the_layer_killed_in_the_middle_is_noticed(brisk, layer):
    execution_id = brisk.start("chaos_tasks", c_layer="sleep")
    wait_until(lambda: "b.do applied" in brisk.at_target(execution_id), timeout_sec=15, what="step b")
    time.sleep(0.3)  # the layer takes up the next message

    for pid in layer.children():
        os.kill(pid, signal.SIGKILL)

    assert brisk.ended(execution_id)["status"] == "completed"
    assert brisk.effects(execution_id) == ALL_DONE
