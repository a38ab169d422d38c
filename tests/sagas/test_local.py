"""Sagas whose functions are closures run in their caller's process, on the same rows and by the same rules."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from hub import Refused, SagaDefinition, SagaStep
from hub.aio import in_thread
from hub.errors import IntegrationError
from sagas import beats, catalog, claims, engine, events, local, roster, store
from sagas.accept import Request, accept
from sagas.face import SagaOrchestrator
from sagas.models import SagaExecution
from sagas.states import Direction, SagaStatus, StepStatus
from tests.processes import wait_until

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


def nothing(context):
    return None


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"retired": True}, "E11427"),
        ({"strict": True}, "E11901"),
        ({"input_types": {"app": str}}, "E11411"),
    ],
)
@pytest.mark.parametrize("ask", [SagaOrchestrator.execute_saga, SagaOrchestrator.start_saga])
def test_what_a_definition_asks_of_a_start_holds_in_python_too(ask, wish, code):
    saga = SagaDefinition.create("asks", [SagaStep(step_id="a", action=nothing, no_compensation="nothing stays")], **wish)

    with pytest.raises(IntegrationError, match=f"^{code}: "):
        asyncio.run(ask(SagaOrchestrator(), saga, {}))
    assert not SagaExecution.objects.exists()


def test_a_start_in_python_looks_first_whether_the_saga_can_be_carried_out():
    steps = [
        SagaStep(step_id="a", action=nothing),
        SagaStep(step_id="b", service_name="L99_nobody", endpoint="POST /b", no_compensation="nothing stays"),
    ]

    with pytest.raises(IntegrationError, match=r"^E11405: .*L99_nobody"):
        execute(SagaDefinition.create("looks_first", steps, preflight=True))
    assert not SagaExecution.objects.exists()


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


def test_a_closure_that_has_only_returned_a_generator_was_not_done():
    async def fail(context):
        raise Refused("no")

    steps = [
        SagaStep(step_id="first", action=lambda context: {}, compensation=lambda context: (one for one in ())),
        SagaStep(step_id="second", action=fail),
    ]

    execution = execute(SagaDefinition.create("lazy", steps))

    assert (execution.status, execution.steps[0].status) == (SagaStatus.NEEDS_OPERATOR, StepStatus.COMPENSATION_FAILED)


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


@pytest.fixture
def beaten(monkeypatch):
    """Return the ids for which beats were written, the first of which is lost."""
    written, dispatch = [], store.dispatch

    def first_lost(execution_id, event):
        written.append(execution_id)
        if len(written) == 1:
            raise OperationalError("database is locked")
        return dispatch(execution_id, event)

    monkeypatch.setattr(beats, "BEAT_SEC", 0.1)
    monkeypatch.setattr(beats, "store", SimpleNamespace(dispatch=first_lost))
    beats._keeper.cache_clear()
    yield written
    beats._keeper.cache_clear()


def test_a_closure_that_blocks_the_loop_is_alive_also_when_a_beat_is_lost(beaten):
    async def grind(context):
        time.sleep(1)

    execution = execute(SagaDefinition.create("grinding", [SagaStep(step_id="grind", action=grind)]))

    assert execution.status is SagaStatus.COMPLETED
    assert beaten.count(execution.execution_id) > 3


def test_a_loop_that_is_silent_for_longer_than_its_steps_may_run_is_dead(beaten, monkeypatch):
    monkeypatch.setattr(beats, "LATE_SEC", 0.5)

    with beats.kept("00000000-0000-0000-0000-000000000001") as driven:
        wait_until(lambda: beaten, what="a beat")
        wait_until(lambda: time.monotonic() > driven.silent_until + 0.2, what="silence")
        before = len(beaten)
        time.sleep(0.5)

    assert len(beaten) == before


def test_a_database_that_is_away_for_a_moment_does_not_end_a_run(monkeypatch):
    dispatch, lost, ran = store.dispatch, [], []

    def away_once_for_each(execution_id, event, **given):
        if ran and type(event) not in lost:
            lost.append(type(event))
            raise OperationalError("server closed the connection unexpectedly")
        return dispatch(execution_id, event, **given)

    monkeypatch.setattr(store, "dispatch", away_once_for_each)
    steps = [SagaStep(step_id=name, action=lambda context: ran.append(1)) for name in ("first", "second")]

    execution = execute(SagaDefinition.create("unlucky", steps))

    assert execution.status is SagaStatus.COMPLETED
    assert {events.Tick, events.Claim, events.Succeeded}.issubset(lost)


def test_a_database_that_stays_away_is_told_to_the_caller(monkeypatch):
    def away(execution_id, event, **given):
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(store, "dispatch", away)
    monkeypatch.setattr(local, "AWAY_SEC", 0.3)

    with pytest.raises(OperationalError):
        execute(SagaDefinition.create("unlucky", [SagaStep(step_id="first", action=lambda context: {})]))


@pytest.mark.usefixtures("no_worker")
def test_a_run_that_waits_for_a_lock_looks_less_and_less_often():
    holder = accept(catalog.find("one_at_a_time"), Request(context={"id": "lock", "plan": {}}))[0]
    assert claims.claim(store.load(holder.pk), 0, Direction.DO)
    saga = SagaDefinition.create("locked", [SagaStep(step_id="only", action=lambda context: {})], locks=["order:{id}"])

    async def scenario():
        execution = await SagaOrchestrator().start_saga(saga, {"id": "lock"})
        await asyncio.sleep(3)
        return await in_thread(lambda: SagaExecution.objects.get(pk=execution.execution_id).revision)

    assert asyncio.run(scenario()) < 40


@pytest.mark.usefixtures("no_worker")
def test_a_child_whose_word_is_lost_is_found_by_the_caller():
    steps = [SagaStep(step_id="here", action=lambda context: {}), SagaStep(step_id="child", saga="inner")]
    saga = SagaDefinition.create("with_child", steps)

    async def scenario():
        sagas = SagaOrchestrator()
        parent = await sagas.start_saga(saga, {"plan": {}})
        await in_thread(serve_child, parent.execution_id)
        return await sagas.wait(parent.execution_id, timeout_sec=10)

    assert asyncio.run(scenario()).status is SagaStatus.COMPLETED


def serve_child(execution_id):
    child = wait_until(lambda: SagaExecution.objects.filter(parent=execution_id).first(), what="a child")
    for index in range(2):
        engine.perform(str(child.pk), index, Direction.DO)


def test_a_layers_step_in_doubt_asks_the_closure_that_verifies_it(monkeypatch, settings, no_worker):
    monkeypatch.setattr(roster, "missing", lambda *_: None)
    settings.HUB = settings.HUB.model_copy(update={"saga_lease_grace_sec": 0.2})
    layer = {"task": "l99.reserve", "compensation_task": "l99.release", "queue": "nobody", "timeout_sec": 0.5, "retry_delay_sec": 0.1}
    steps = [SagaStep(step_id="here", action=lambda _: {}), SagaStep(step_id="tools", verify=lambda _: "happened", **layer)]

    found = execute(SagaDefinition.create("asks_here", steps), {})

    assert (found.status, found.error) == (SagaStatus.COMPLETED, None)
