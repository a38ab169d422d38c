"""Defects that a well-known small orchestrator has, each as a test that this one passes (F6 to F9 and F11)."""

from __future__ import annotations

import asyncio
import time

import pytest

from hub import OutcomeUnknown, SagaDefinition, SagaStep
from sagas.face import SagaOrchestrator
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def execute(saga, context=None):
    return asyncio.run(SagaOrchestrator().execute_saga(saga, context))


def closure(name, seen, *, sec=0.0, fails=None, undo_fails=None):
    """Return a step of this process that notes what it does."""

    async def action(context):
        seen.append(name)
        await asyncio.sleep(sec)
        if fails:
            raise fails
        return {}

    async def undo(context):
        seen.append(f"undo {name}")
        if undo_fails:
            raise undo_fails

    options = {"max_retries": 0, "compensation_max_retries": 0}
    return SagaStep(step_id=name, action=action, compensation=undo, **options)


def test_f6_a_failing_undo_stops_no_other_undo_and_hides_no_error(brisk):
    found = brisk.run("patient", b_undo="fail", c="refuse")

    states = {step["step_id"]: step["status"] for step in found["steps"]}
    assert states == {"a": "compensated", "b": "compensation_failed", "c": "failed"}
    assert found["status"] == "needs_operator"
    assert (found["error"]["code"], found["error"]["step_id"]) == ("E11432", "c")
    assert found["steps"][1]["undo_error"]["kind"] == "ValueError"


def test_f6_holds_for_closures_too():
    seen = []
    steps = [closure("a", seen), closure("b", seen, undo_fails=ValueError("stuck")), closure("c", seen, fails=ValueError("no"))]

    execution = execute(SagaDefinition.create("f6", steps))

    assert seen == ["a", "b", "c", "undo b", "undo a"]
    assert execution.status == "needs_operator"
    assert execution.error["step_id"] == "c"


def test_f7_a_cancelled_saga_starts_no_further_step(brisk):
    execution_id = brisk.start("chaos_functions", b="slow")
    wait_until(lambda: "b.do applied" in brisk.at_target(execution_id), what="step b to run")

    with brisk.client() as client:
        kwargs = {"execution_id": execution_id, "reason": "changed our minds"}
        client.send_task("hub.sagas.cancel", kwargs=kwargs, queue="hub").get(timeout=10)

    found = brisk.ended(execution_id)
    assert (found["status"], found["cause"]) == ("compensated", "cancelled")
    assert brisk.effects(execution_id) == ["a.do", "b.do", "b.undo", "a.undo"]


def test_f8_the_deadline_is_kept_while_a_step_runs():
    seen = []
    began = time.monotonic()

    execution = execute(SagaDefinition.create("f8", [closure("a", seen, sec=5), closure("b", seen)], timeout_sec=0.3))

    assert (execution.status, execution.cause) == ("compensated", "timeout")
    assert seen == ["a", "undo a"]
    assert time.monotonic() - began < 4


def test_f8_the_deadline_is_kept_on_workers_too(brisk):
    found = brisk.run("hurried", b="hang")

    assert (found["status"], found["cause"], found["error"]["code"]) == ("compensated", "timeout", "E11445")


def test_f9_a_second_run_remembers_nothing_of_the_first():
    seen = []
    fails = []

    async def first(context):
        seen.append("first")
        if fails:
            raise fails[0]

    async def undo_first(context):
        seen.append("undo first")

    steps = [SagaStep(step_id="first", action=first, compensation=undo_first, max_retries=0), closure("second", seen)]
    saga = SagaDefinition.create("f9", steps)

    done = execute(saga)
    fails.append(ValueError("not this time"))
    second = execute(saga)

    assert (done.status, second.status) == ("completed", "compensated")
    assert seen == ["first", "second", "first"]


def test_f9_holds_on_workers_too(brisk):
    done = brisk.run("chaos_functions")
    second = brisk.run("chaos_functions", a="refuse")

    assert (done["status"], second["status"]) == ("completed", "compensated")
    assert brisk.effects(second["execution_id"]) == []


def test_f11_a_charge_whose_answer_is_lost_is_made_once_and_refunded(brisk):
    found = brisk.run("chaos_functions", c="lost")

    at_c = [line for line in brisk.at_target(found["execution_id"]) if line.startswith("c.")]
    assert found["status"] == "compensated"
    assert at_c.count("c.do received") > 1
    assert at_c.count("c.do applied") == 1
    assert at_c.count("c.undo applied") == 1


def test_f11_holds_for_closures_too():
    seen = []
    steps = [closure("a", seen), closure("charge", seen, fails=OutcomeUnknown("no answer"))]

    execution = execute(SagaDefinition.create("f11", steps))

    assert execution.status == "compensated"
    assert seen == ["a", "charge", "undo charge", "undo a"]
