"""Sagas whose functions are closures run in their caller's process, on the same rows and by the same rules."""

from __future__ import annotations

import asyncio
import time

import pytest
from django.db import OperationalError

from hub import Refused, SagaDefinition, SagaStep
from sagas import local
from sagas.face import SagaOrchestrator
from sagas.states import SagaStatus, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)


def execute(saga, context=None):
    return asyncio.run(SagaOrchestrator().execute_saga(saga, context))


def test_async_and_sync_closures_share_one_context():
    async def build(context):
        return {"image": f"{context['app']}:1"}

    def deploy(context):
        return {"deployed": context["image"]}

    saga = SagaDefinition.create("deploy", [SagaStep(step_id="build", action=build), SagaStep(step_id="deploy", action=deploy)])

    execution = execute(saga, {"app": "web"})

    assert execution.status is SagaStatus.COMPLETED
    assert execution.context == {"app": "web", "image": "web:1", "deployed": "web:1"}
    assert [step.status for step in execution.steps] == [StepStatus.COMPLETED, StepStatus.COMPLETED]


def test_a_failing_step_undoes_the_ones_before_it_with_the_data_of_their_time():
    seen = []

    async def first(context):
        return {"value": 1}

    async def undo_first(context):
        seen.append((context["value"], context["_saga"]["output"]))

    async def second(context):
        return {"value": 2}

    async def undo_second(context):
        seen.append((context["value"], context["_saga"]["output"]))

    async def third(context):
        raise Refused("no")

    steps = [
        SagaStep(step_id="first", action=first, compensation=undo_first),
        SagaStep(step_id="second", action=second, compensation=undo_second),
        SagaStep(step_id="third", action=third),
    ]

    execution = execute(SagaDefinition.create("deploy", steps))

    assert execution.status is SagaStatus.COMPENSATED
    assert execution.error["step_id"] == "third"
    assert seen == [(2, {"value": 2}), (1, {"value": 1})]


def test_a_closure_is_given_up_at_its_limit_while_it_hangs():
    async def hang(context):
        await asyncio.sleep(60)

    saga = SagaDefinition.create("slow", [SagaStep(step_id="hang", action=hang, timeout_sec=0.3, max_retries=0)])
    began = time.monotonic()

    execution = execute(saga)

    assert execution.status is SagaStatus.COMPENSATED
    assert execution.error["code"] == "E11441"
    assert time.monotonic() - began < 10


def test_the_deadline_of_the_saga_ends_a_step_that_may_run_longer():
    async def hang(context):
        await asyncio.sleep(60)

    saga = SagaDefinition.create("slow", [SagaStep(step_id="hang", action=hang)], timeout_sec=0.5)

    execution = execute(saga)

    assert (execution.status, execution.cause) == (SagaStatus.COMPENSATED, "timeout")


def test_history_tells_every_move():
    async def step(context):
        return None

    async def scenario():
        sagas = SagaOrchestrator()
        execution = await sagas.execute_saga(SagaDefinition.create("one", [SagaStep(step_id="only", action=step)]))
        return await sagas.get_execution_trace(execution.execution_id)

    moves = [(move["step_id"], move["old"], move["new"]) for move in asyncio.run(scenario())]

    assert moves == [
        ("", "", "pending"),
        ("", "pending", "running"),
        ("only", "pending", "running"),
        ("only", "running", "completed"),
        ("", "running", "completed"),
    ]


def test_a_cancelled_saga_runs_no_further_step_and_undoes_what_ran():
    ran = []

    async def first(context):
        ran.append("first")
        await asyncio.sleep(0.5)

    async def undo(context):
        ran.append("undo first")

    async def second(context):
        ran.append("second")

    async def scenario():
        sagas = SagaOrchestrator()
        steps = [SagaStep(step_id="first", action=first, compensation=undo), SagaStep(step_id="second", action=second)]
        started = await sagas.start_saga(SagaDefinition.create("one", steps))
        while not ran:
            await asyncio.sleep(0.02)
        await sagas.cancel_execution(started.execution_id, "not needed")
        return await sagas.wait(started.execution_id, timeout_sec=10)

    execution = asyncio.run(scenario())

    assert (execution.status, execution.cause) == (SagaStatus.COMPENSATED, "cancelled")
    assert ran == ["first", "undo first"]


def test_a_beat_that_fails_is_not_the_last(monkeypatch):
    beats = []

    def beat(execution_id):
        beats.append(execution_id)
        if len(beats) == 1:
            raise OperationalError("database is locked")

    async def scenario():
        beating = asyncio.create_task(local._beat("one"))
        while len(beats) < 3:
            await asyncio.sleep(0.01)
        beating.cancel()

    monkeypatch.setattr(local, "BEAT_SEC", 0.01)
    monkeypatch.setattr(local, "_beat_once", beat)
    asyncio.run(asyncio.wait_for(scenario(), 10))

    assert beats[:3] == ["one"] * 3
