"""The spans of a saga, step by step in this process: one trace, undos linked, rescues kept."""

import base64
import json
from datetime import timedelta

import pytest
from celery import Celery, chain
from django.conf import settings

from hub.redis_client import client
from hub.telemetry import context, conventions, store, tracing
from hub.telemetry.models import Span
from sagas import engine, handover, recovery, services
from sagas.models import SagaExecution
from sagas.states import Direction
from tests.telemetry.trees import tree_problems

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _alone(no_worker):
    client().flushdb()
    tracing.pipeline()._queue.clear()


def start(**plan):
    return SagaExecution.objects.get(pk=services.start("three_steps", {"plan": plan})["execution_id"])


def spans_of(row):
    tracing.flush()
    return store.trace(row.trace_id)


def queued(queue="hub.sagas"):
    return [json.loads(text) for text in client().lrange(queue, 0, -1)]


def test_each_undo_links_to_the_last_attempt_of_what_it_undoes():
    row = start(c="refuse")
    for index in range(3):
        engine.perform(str(row.pk), index, Direction.DO)
    for index in (1, 0):
        engine.perform(str(row.pk), index, Direction.UNDO)

    spans = spans_of(row)
    names = {span.span_id: span.span_name for span in spans}
    links = {span.span_name: [names[context.parse(link).span_id] for link in span.links] for span in spans if span.links}
    assert tree_problems(spans) == []
    assert links == {"undo b": ["step b"], "undo a": ["step a"]}
    assert [(span.span_name, span.status) for span in spans if span.status == "error"] == [("step c", "error")]
    assert Span.objects.filter(name="undo a", kept=True).exists()


def test_a_retry_is_another_span_and_the_undo_links_to_the_last():
    row = start(a="fail once", b="refuse")
    engine.perform(str(row.pk), 0, Direction.DO)
    SagaExecution.objects.get(pk=row.pk).steps.filter(index=0).update(due_at=row.created_at)
    for index, direction in ((0, Direction.DO), (1, Direction.DO), (0, Direction.UNDO)):
        engine.perform(str(row.pk), index, direction)

    spans = spans_of(row)
    first, second = [span for span in spans if span.span_name == "step a"]
    [undo] = [span for span in spans if span.span_name == "undo a"]
    assert (first.status, second.status) == ("error", "unset")
    assert [context.parse(link).span_id for link in undo.links] == [second.span_id]
    assert tree_problems(spans) == []


def test_a_sweepers_rescue_and_its_message_belong_to_the_sagas_own_trace():
    row = start()
    client().delete("hub.sagas")
    SagaExecution.objects.filter(pk=row.pk).update(next_wake_at=row.created_at - timedelta(seconds=1), hints=1)

    with tracing.span("somebody else's work", traceparent=""):
        recovery.sweep()

    [message] = queued()
    tracing.flush()
    rescue = Span.objects.get(name="rescue three_steps")
    sent_by = context.parse(message["headers"]["traceparent"])
    assert (sent_by.trace_id, sent_by.span_id) == (row.trace_id, rescue.span_id)
    assert rescue.kept


def test_an_operator_in_a_trace_of_his_own_is_linked_to():
    row = start()
    engine.perform(str(row.pk), 0, Direction.DO)
    with tracing.span("an operator's click", traceparent=""):
        clicked = tracing.trace_id()
        services.cancel(str(row.pk), reason="wrong customer")

    [resumed] = [span for span in spans_of(row) if span.span_name == "resume three_steps" and span.links]
    assert [context.parse(link).trace_id for link in resumed.links] == [clicked]


def test_an_attempt_names_the_task_that_carries_it_out():
    row = SagaExecution.objects.get(pk=services.start("with_tools", {"plan": {}})["execution_id"])
    engine.perform(str(row.pk), 0, Direction.DO, task_id="ours")
    client().set("hub:roster", json.dumps({"l03@x": {"queues": ["tools"], "tasks": ["tools.reserve"]}}), ex=30)
    handover.begin(str(row.pk), 1, Direction.DO)

    [theirs] = [message["headers"]["id"] for message in queued("tools")]
    carried = {span.span_name: span.attributes.get(conventions.MESSAGING_MESSAGE_ID) for span in spans_of(row)}
    assert [carried[f"step {step.step_id}"] for step in row.steps.all()[:2]] == ["ours", theirs]


def test_what_a_layer_sends_after_its_task_carries_the_trace():
    with tracing.span("sender", traceparent=""), Celery(broker=settings.REDIS_URL, set_as_current=False) as app:
        traceparent = tracing.traceparent()
        first, then = app.signature("l03.run", queue="l03"), app.signature("hub.sagas.finish", queue="hub.sagas")
        then.set(headers={"own": "1"})
        chain(first.on_error(app.signature("hub.sagas.failed", queue="hub.sagas")), then, app=app).apply_async()

    embed = json.loads(base64.b64decode(queued("l03")[0]["body"]))[2]
    assert embed["chain"][0]["options"]["headers"] == {"own": "1", "traceparent": traceparent}
    assert embed["errbacks"][0]["options"]["headers"]["traceparent"] == traceparent
