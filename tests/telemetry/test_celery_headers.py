"""A trace through real workers, begun by a client that knows nothing of the hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from django.conf import settings

from hub.celery import app
from hub.telemetry import celery_headers, context, store, tracing
from hub.telemetry.models import Span
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


CLIENT = """
import json, sys
from celery import Celery
url, traceparent, calls = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
app = Celery(broker=url, backend=url)
steps = [app.signature(name, kwargs=kwargs, queue="hub", immutable=True) for name, kwargs in calls]
headers = {"traceparent": traceparent, "x-correlation-id": "order-7"} if traceparent else {}
work = steps[0] if len(steps) == 1 else steps[0] | steps[1]
result = work.apply_async(headers=headers)
print(result.id, repr(result.get(timeout=20, propagate=False)))
"""


def send(*calls, traceparent=""):
    """Send tasks, as a chain if they are two, from a process that has Celery and nothing of the hub; return what it prints."""
    command = [sys.executable, "-c", CLIENT, settings.REDIS_URL, traceparent, json.dumps(calls)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd="/")
    return done.stdout


def published(topic="agent.created", payload=None):
    return ("hub.events.publish", {"topic": topic, "event_type": "created", "payload": payload or {}})


def new_traceparent():
    return context.format_traceparent(context.TraceContext(trace_id=os.urandom(16).hex(), span_id=os.urandom(8).hex()))


def spans_of(traceparent, *, at_least):
    trace_id = context.parse(traceparent).trace_id
    return wait_until(lambda: (found := store.trace(trace_id)) and len(found) >= at_least and found, what=f"{at_least} spans of the trace")


def is_one_tree(spans, root):
    known = {span.span_id for span in spans} | {root}
    return all(span.parent_span_id in known and context.is_span_id(span.span_id) for span in spans)


def test_a_plain_client_with_a_traceparent_is_traced_to_the_event_it_publishes(worker):
    traceparent = new_traceparent()

    answer = send(published(payload={"password": "canary-1234"}), traceparent=traceparent)

    assert "event_id" in answer
    spans = spans_of(traceparent, at_least=2)
    assert {span.span_name for span in spans} == {"process hub", "send agent.created"}
    assert is_one_tree(spans, context.parse(traceparent).span_id)
    assert set(Span.objects.filter(trace_id=spans[0].trace_id).values_list("correlation_id", flat=True)) == {"order-7"}
    assert "canary-1234" not in str([span.to_dict() for span in spans])


def test_both_steps_of_a_chain_are_in_the_trace_and_the_second_ones_wait_is_seen(worker):
    traceparent = new_traceparent()

    send(published(), published(), traceparent=traceparent)

    spans = spans_of(traceparent, at_least=5)
    assert sorted(span.span_name for span in spans) == ["process hub"] * 2 + ["send agent.created"] * 2 + ["wait hub"]
    assert is_one_tree(spans, context.parse(traceparent).span_id)


def test_a_failed_task_is_a_failed_span_that_is_kept(worker):
    traceparent = new_traceparent()

    answer = send(published(topic="a b"), traceparent=traceparent)

    assert "E11101" in answer
    [span] = spans_of(traceparent, at_least=1)
    assert span.status == "error"
    assert span.attributes["error.type"] == "IntegrationError"
    assert Span.objects.get(span_id=span.span_id).kept


def test_a_task_without_context_starts_a_trace_of_its_own(worker):
    task_id = send(published()).split()[0]

    row = wait_until(lambda: span_of(task_id), what="the span of the task")

    assert row.parent_span_id == ""


def span_of(task_id):
    return next((row for row in Span.objects.filter(name="process hub") if row.attributes.get("messaging.message.id") == task_id), None)


def test_a_message_that_runs_twice_at_once_in_two_threads_has_two_spans():
    both = threading.Barrier(2, timeout=20)

    @app.task(name="hub.test.twice")
    def twice():
        both.wait()
        time.sleep(0.1)

    threads = [threading.Thread(target=twice.apply, kwargs={"task_id": "the-same"}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    app.tasks.pop("hub.test.twice")
    tracing.flush()

    spans = [span for span in Span.objects.all() if span.attributes.get("messaging.message.id") == "the-same"]
    assert [span.duration_us >= 100_000 for span in spans] == [True, True]
    assert celery_headers._running == {}
