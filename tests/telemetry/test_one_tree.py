"""A trace from the caller to the last undo is one tree: in the tables, and at a collector."""

from __future__ import annotations

import json
import os
import sys

import pytest
from werkzeug import Response

from hub.embedded import free_port, wait_for_port
from hub.events import subscriptions
from hub.events.targets import TaskTarget
from hub.telemetry import context, store
from hub.telemetry.values import TraceSpan
from registry_app import services as registry
from registry_app.values import ServiceInfo
from sagas.models import SagaExecution
from tests.conftest import ALL_QUEUES
from tests.processes import LoggedProcess, Worker, hub_environment, wait_until
from tests.telemetry.saga_samples import QUEUE, SERVICE, TOPIC
from tests.telemetry.test_celery_headers import send
from tests.telemetry.trees import tree_problems

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture(scope="module")
def collected(django_db_setup, tmp_path_factory):
    """A collector, and a worker, a relay and a layer of which the first two send it their spans; the file it writes."""
    directory, port = tmp_path_factory.mktemp("tree"), free_port()
    env = hub_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"})
    out = directory / "spans.jsonl"
    out.touch()

    def run(name, *command):
        return LoggedProcess(name, [sys.executable, *command], env=env, log_path=directory / f"{name}.log")

    running = [run("collector", "-m", "tests.telemetry.collector", str(port), str(out)), run("relay", "manage.py", "relay")]
    try:
        for name, app, queues in (("hub", "hub", ALL_QUEUES), ("layer", "tests.telemetry.layer", QUEUE)):
            log_path = directory / f"{name}.log"
            running.append(Worker(app, queues, name=f"tree-{name}-{os.getpid()}", concurrency=2, env=env, log_path=log_path))
        wait_for_port(port, 20)
        yield out
    finally:
        for process in running:
            process.kill()


@pytest.fixture
def service(httpserver):
    """A service that fails at its first charge."""
    answers = [Response("busy", status=503)]
    httpserver.expect_request("/charge").respond_with_handler(lambda _: answers.pop() if answers else Response("{}"))
    httpserver.expect_request("/refund").respond_with_json({})
    httpserver.expect_request("/hello").respond_with_json({"hello": "layer"})
    registry.register(ServiceInfo.create(SERVICE, "1.0", httpserver.url_for("").rstrip("/")))
    return httpserver


def new_context():
    return context.TraceContext(trace_id=os.urandom(16).hex(), span_id=os.urandom(8).hex())


def whole_trace(given, wanted):
    """Return the trace when all of `wanted` are in it and it is one tree; else what is wrong with it in the end."""

    def is_whole():
        spans = store.trace(given.trace_id)
        names = [span.span_name for span in spans]
        if all(names.count(name) >= count for name, count in wanted.items()) and not tree_problems(spans, remote_parent=given.span_id):
            return spans
        return None

    try:
        return wait_until(is_whole, timeout_sec=30, what="the whole trace")
    except AssertionError:
        spans = store.trace(given.trace_id)
        listed = "\n".join(f"{s.span_id} < {s.parent_span_id} {s.span_name} {s.attributes.get('hub.task.name', '')}" for s in spans)
        raise AssertionError(f"{tree_problems(spans, remote_parent=given.span_id)}\n{listed}") from None


def at_collector(out, given):
    return [TraceSpan(**one) for one in map(json.loads, out.read_text().splitlines()) if one["trace_id"] == given.trace_id]


def arrives(out, given, spans):
    ids = {span.span_id for span in spans}
    wait_until(lambda: ids <= {span.span_id for span in at_collector(out, given)}, timeout_sec=20, what="the trace at the collector")
    assert tree_problems(at_collector(out, given), remote_parent=given.span_id) == []


def test_a_routed_request_of_a_plain_client_is_one_tree(collected, service):
    given = new_context()

    request = {"service_name": SERVICE, "method": "GET", "path": "/hello"}

    answer = send(("hub.requests.route", request), traceparent=context.format_traceparent(given))

    assert given.trace_id in answer
    spans = whole_trace(given, {"process hub": 1, f"GET {SERVICE}": 1})
    assert len(spans) == 2
    [arrived] = [call for call, _ in service.log if call.path == "/hello"]
    client = next(span for span in spans if span.kind == "client")
    assert context.parse(arrived.headers["traceparent"]) == context.TraceContext(trace_id=given.trace_id, span_id=client.span_id)
    arrives(collected, given, spans)


def test_a_compensated_saga_is_one_tree_to_the_last_undo(collected, service):
    subscriptions.subscribe("tree", TOPIC, TaskTarget(task="tree.on_event", queue=QUEUE))
    given = new_context()

    send(("hub.sagas.start", {"saga_name": "traced", "context": {"app": "shop"}}), traceparent=context.format_traceparent(given))

    run = SagaExecution.objects.get(trace_id=given.trace_id)
    wait_until(lambda: run.refresh_from_db() or run.status == "compensated", timeout_sec=60, what="the saga to be compensated")
    wanted = {
        "saga traced": 1,
        **{f"step {name}": 1 for name in ("announce", "tools", "last")},
        "step charge": 2,
        **{f"undo {name}": 1 for name in ("announce", "tools", "charge")},
        f"POST {SERVICE}": 3,
        f"send {TOPIC}": 2,
        f"deliver {TOPIC}": 2,
        "wait hub.sagas": 7,
        "process hub.sagas": 7,
    }
    spans = whole_trace(given, wanted)
    assert undone_by_links(spans) == {"undo announce": "step announce", "undo tools": "step tools", "undo charge": "step charge"}
    assert [span.status for span in named(spans, "step charge")] == ["error", "unset"]
    arrives(collected, given, spans)


def named(spans, name):
    return [span for span in spans if span.span_name == name]


def undone_by_links(spans):
    by_id = {span.span_id: span.span_name for span in spans}
    undos = [span for span in spans if span.span_name.startswith("undo ")]
    return {span.span_name: by_id[context.parse(link).span_id] for span in undos for link in span.links}
