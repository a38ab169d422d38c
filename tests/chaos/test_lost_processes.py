"""Real processes die, freeze or lack something while sagas run; the target's ledger tells what really happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import redis

from sagas import services
from sagas.models import SagaExecution
from tests.processes import ROOT, hub_environment, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

ALL_DONE = ["a.do", "b.do", "c.do", "d.do", "e.do"]


def until_at_target(brisk, execution_id, line):
    wait_until(lambda: line in brisk.at_target(execution_id), timeout_sec=15, what=line)


def test_a_worker_killed_in_the_middle_of_a_step_costs_no_effect(brisk):
    brisk.add_worker("worker2")
    execution_id = brisk.start("chaos_functions", c="slow")
    until_at_target(brisk, execution_id, "c.do applied")

    for name in ("worker", "worker2"):
        brisk.processes[name].kill()
    brisk.processes["worker"].start()

    assert brisk.ended(execution_id)["status"] == "completed"
    assert brisk.effects(execution_id) == ALL_DONE
    assert brisk.at_target(execution_id).count("c.do replayed") == 1
    brisk.end("worker2")


def test_a_dead_worker_is_missed_when_its_lease_ends_however_long_the_step_may_take(brisk):
    brisk.add_worker("worker2")
    execution_id = brisk.start("chaos_patient", a="hang once")
    until_at_target(brisk, execution_id, "a.do applied")

    for name in ("worker", "worker2"):
        brisk.processes[name].kill()
    brisk.processes["worker"].start()

    assert brisk.ended(execution_id, timeout_sec=60)["status"] == "completed"  # the step alone may take 200 s
    assert brisk.effects(execution_id) == ["a.do"]
    brisk.end("worker2")


def test_a_step_that_takes_longer_than_its_lease_is_called_once(brisk):
    execution_id = brisk.start("chaos_patient", {"patience_sec": 10}, a="long")

    assert brisk.ended(execution_id)["status"] == "completed"
    assert brisk.at_target(execution_id) == ["a.do received", "a.do applied"]


def test_a_pool_child_killed_in_the_middle_of_a_step_is_noticed_at_once(brisk):
    execution_id = brisk.start("chaos_functions", c="slow")
    until_at_target(brisk, execution_id, "c.do applied")

    for pid in brisk.processes["worker"].children():
        os.kill(pid, signal.SIGKILL)

    assert brisk.ended(execution_id)["status"] == "completed"
    assert brisk.effects(execution_id) == ALL_DONE


def test_a_worker_frozen_beyond_its_lease_wakes_up_to_no_harm(brisk):
    brisk.add_worker("worker2")
    execution_id = brisk.start("chaos_functions", c="slow")
    until_at_target(brisk, execution_id, "c.do applied")
    actor = _who_runs(brisk, execution_id)

    actor.signal(signal.SIGSTOP)
    try:
        found = brisk.ended(execution_id)
    finally:
        actor.signal(signal.SIGCONT)

    assert found["status"] == "completed"
    brisk.end("worker2")
    assert brisk.effects(execution_id) == ALL_DONE


def _who_runs(brisk, execution_id):
    claims = SagaExecution.objects.get(pk=execution_id).transitions.filter(step_id="c", new="running")
    pid = int(claims.latest("id").actor.rpartition(":")[2])
    return next(process for process in brisk.processes.values() if pid in process.children())


def test_a_step_that_kills_its_worker_is_not_tried_for_ever(brisk):
    found = brisk.run("three_steps", b="die")

    assert found["status"] == "compensated"
    assert found["cause"] in ("lost", "step_failed")
    assert found["steps"][1]["attempts"] <= 3


def test_an_undo_that_kills_its_worker_ends_before_an_operator(brisk):
    found = brisk.run("three_steps", b_undo="die", c="refuse")

    assert found["status"] == "needs_operator"
    assert found["steps"][1]["status"] == "compensation_failed"
    assert found["steps"][1]["undo_attempts"] == 3
    assert found["steps"][0]["status"] == "compensated"


def test_a_redis_that_comes_back_empty_loses_no_saga(brisk):
    execution_ids = [brisk.start("chaos_functions", c="slow") for _ in range(4)]
    until_at_target(brisk, execution_ids[0], "a.do applied")

    assert redis.Redis.from_url(brisk.redis_url).flushall()

    assert [brisk.ended(execution_id)["status"] for execution_id in execution_ids] == ["completed"] * 4
    assert [brisk.effects(execution_id) for execution_id in execution_ids] == [ALL_DONE] * 4


def test_a_worker_without_the_version_leaves_the_run_visibly_to_one_that_has_it(brisk):
    execution_id = brisk.start("chaos_functions", c="slow")
    until_at_target(brisk, execution_id, "b.do applied")
    brisk.processes["worker"].kill()
    brisk.add_worker("stranger", HUB_SAGA_MODULES="tests.sagas.saga_samples")

    blocked = wait_until(lambda: services.status(execution_id)["blocked"], timeout_sec=15, what="the reason to be seen")

    assert blocked.startswith("E11447: ")
    assert services.status(execution_id)["status"] == "waiting"
    brisk.end("stranger")
    brisk.processes["worker"].start()
    assert brisk.ended(execution_id)["status"] == "completed"
    assert brisk.effects(execution_id) == ALL_DONE


def test_a_version_that_no_worker_gets_ends_before_an_operator(brisk):
    execution_id = brisk.start("chaos_functions", c="slow")
    until_at_target(brisk, execution_id, "b.do applied")
    brisk.processes["worker"].kill()
    brisk.add_worker("stranger", HUB_SAGA_MODULES="tests.sagas.saga_samples")

    found = brisk.ended(execution_id, timeout_sec=40)

    assert found["status"] == "needs_operator"
    assert found["error"]["code"] == "E11447"
    brisk.end("stranger")


CALLER = """
import asyncio, sys
from hub.setup import ensure_django; ensure_django()
from hub import SagaDefinition, SagaStep
from sagas.face import SagaOrchestrator
async def first(context): return {}
async def second(context):
    print("second", flush=True)
    await asyncio.sleep(60)
steps = [SagaStep(step_id="first", action=first), SagaStep(step_id="second", action=second)]
asyncio.run(SagaOrchestrator().execute_saga(SagaDefinition.create("closures", steps)))
"""


def test_a_saga_whose_caller_is_killed_is_parked_with_its_code_within_seconds(brisk):
    env = hub_environment({"REDIS_URL": brisk.redis_url})
    caller = subprocess.Popen([sys.executable, "-c", CALLER], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    assert caller.stdout.readline() == "second\n"

    caller.kill()
    caller.wait(10)
    killed = time.monotonic()

    execution_id = str(SagaExecution.objects.get(saga_name="closures").pk)
    found = brisk.ended(execution_id)
    assert (found["status"], found["error"]["code"]) == ("needs_operator", "E11429")
    assert time.monotonic() - killed < 15
