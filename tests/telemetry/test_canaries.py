"""Secrets through every entrance of a running hub are found nowhere afterwards but where they were meant to arrive.

Excepted are the broker's messages (the queues, and what workers hold unacknowledged) and the results that a caller asked for
(``celery-task-meta-*``): those are the secrets' way to where they work.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from celery import Celery
from django.apps import apps
from django.conf import settings
from django.db import connection
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from werkzeug import Response

from hub.console import plan
from hub.embedded import free_port
from hub.events import subscriptions
from hub.events.models import DeadLetter
from hub.events.subscriptions import Policy
from hub.events.targets import TaskTarget
from hub.redis_client import client
from hub.telemetry.models import Span
from hub.telemetry.otel import to_otel
from hub.telemetry.values import TraceSpan
from registry_app import services as registry
from registry_app.values import ServiceInfo
from sagas.models import SagaExecution
from tests.conftest import ALL_QUEUES
from tests.processes import LoggedProcess, Worker, hub_environment, wait_until
from tests.telemetry.saga_samples import QUEUE, SERVICE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(300)]
FLOWER_USER = ("hub", "flower-password")
KNOWN = f"canary-{secrets.token_hex(8)}"
"""A secret of the deployment (``HUB_REDACTED_VALUES``): it must not appear whatever it is called."""
MESSAGES = ("unacked", "unacked_index", "celery-task-meta-*", QUEUE, *ALL_QUEUES.split(","))


class Canaries:
    """Twenty-odd secrets, each with the entrance it is sent through."""

    def __init__(self):
        self.values = {"a known value": KNOWN}

    def new(self, entrance):
        self.values[entrance] = f"canary-{secrets.token_hex(8)}"
        return self.values[entrance]

    def found_in(self, text):
        return sorted(entrance for entrance, value in self.values.items() if value in text)


@pytest.fixture(scope="module")
def site(django_db_setup, tmp_path_factory):
    """Worker, relay, layer, web and Flower, with their logs and files in one directory."""
    directory, web, flower = tmp_path_factory.mktemp("canaries"), free_port(), free_port()
    env = hub_environment(
        {
            "HUB_REDACTED_VALUES": KNOWN,
            "HUB_OBSERVABILITY_OUTPUT_FILE": str(directory / "spans.jsonl"),
            "FLOWER_BASIC_AUTH": ":".join(FLOWER_USER),
            "RECEIPTS": str(directory / "receipts" / "layer.jsonl"),
        }
    )
    (directory / "receipts").mkdir()

    def run(name, *command):
        return LoggedProcess(name, [sys.executable, *command], env=env, log_path=directory / "log" / f"{name}.log")

    running = [
        run("relay", "manage.py", "relay"),
        run("web", "-m", "gunicorn", "hub.wsgi", "--bind", f"127.0.0.1:{web}"),
    ]
    try:
        for name, app, queues in (("hub", "hub", ALL_QUEUES), ("layer", "tests.telemetry.layer", QUEUE)):
            log_path = directory / "log" / f"{name}.log"
            running.append(Worker(app, queues, name=f"canary-{name}-{os.getpid()}", concurrency=2, env=env, log_path=log_path))
        listen = (f"--port={flower}", "--address=127.0.0.1", f"--conf={plan.FLOWER_CONFIG}")
        keep = ("--persistent=True", f"--db={directory / 'flower'}", "--state_save_interval=1000")
        running.append(run("flower", "-m", "celery", "-A", "hub", "flower", *listen, *keep))
        addresses = {"web": f"http://127.0.0.1:{web}", "flower": f"http://127.0.0.1:{flower}", "directory": directory}
        for url in (f"{addresses['web']}/healthz", f"{addresses['flower']}/healthcheck"):
            wait_until(lambda url=url: answers(url), timeout_sec=60, what=url)
        yield addresses
    finally:
        for process in running:
            process.kill()


def answers(url):
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


@pytest.fixture
def service(httpserver):
    registry.register(ServiceInfo.create(SERVICE, "1.0", httpserver.url_for("").rstrip("/")))
    httpserver.expect_request("/undo").respond_with_json({})
    return httpserver


@pytest.fixture
def ask():
    """Ask the hub as a layer with nothing but Celery does; a refusal is its text."""
    with Celery(broker=settings.REDIS_URL, backend=settings.REDIS_URL, set_as_current=False) as app:

        def send(task, about=None, **kwargs):
            try:
                return app.send_task(task, kwargs=kwargs, queue="hub", headers=about or {}).get(timeout=60)
            except Exception as exc:
                return str(exc)

        yield send


def test_no_secret_stays_behind(site, service, ask):
    canaries = Canaries()

    sent = [*through_requests(canaries, service, ask), *through_sagas(canaries, service, ask, site)]
    through_events(canaries, ask)
    refused = through_the_rest(canaries, ask, site)

    # What they were sent for still works: the secrets arrived.
    arrived = "".join(str(call.headers) for call, _ in service.log) + "".join(call.get_data(as_text=True) for call, _ in service.log)
    arrived += "".join(call.full_path for call, _ in service.log) + (site["directory"] / "receipts" / "layer.jsonl").read_text()
    assert {"an authorization header", "a cookie", "a body", "a query", "a saga's context", "an event's payload"} <= set(
        canaries.found_in(arrived)
    )
    assert {"a service's answer"} <= set(canaries.found_in(json.dumps(sent)))
    assert all(re.match(r"E11(306|007)", text) for text in refused), refused
    assert len(canaries.values) >= 20

    everything_is_written(site)
    found = leaks(canaries, site)
    assert not found, found


def through_requests(canaries, service, ask):
    bearer, cookie, body, query, answer, error, path, key, about = (
        canaries.new(entrance)
        for entrance in (
            "an authorization header",
            "a cookie",
            "a body",
            "a query",
            "a service's answer",
            "a service's error",
            "a header named like a key",
            "a broadcast's header",
            "a correlation id",
        )
    )
    service.expect_request("/answer").respond_with_json({"access_token": answer}, headers={"Set-Cookie": f"sid={answer}"})
    service.expect_request("/error").respond_with_response(Response(f'{{"detail": "password={error}"}}', status=400))
    request = {"service_name": SERVICE, "method": "POST", "path": "/answer", "data": {"password": body, "note": KNOWN}}
    headers = {"Authorization": f"Bearer {bearer}", "Cookie": f"sid={cookie}", "X-Api-Key": path}
    yield ask("hub.requests.route", **request, headers=headers, params={"api_key": query}, idempotency_key="canaries-1")
    yield ask("hub.requests.route", **{**request, "path": "/error"}, headers=headers)
    yield ask("hub.requests.route", {"x-correlation-id": f"password:{about}"}, **request)
    yield ask("hub.requests.broadcast", service_names=[SERVICE], method="GET", path="/answer", headers={"Authorization": f"Bearer {key}"})
    yield ask("hub.requests.route", **{**request, "method": "GET", "data": None, "path": f"/{KNOWN}"})


def through_sagas(canaries, service, ask, site):
    said = {name: canaries.new(f"a step's {name}") for name in ("password", "api_key", "session_token", "bearer_token", "layer_secret")}
    context = {"said": said, "db_password": canaries.new("a saga's context"), "note": f"it is {KNOWN}"}
    service.expect_request("/secret").respond_with_json({"refresh_token": canaries.new("a step's answer")})
    started = ask("hub.sagas.start", saga_name="canaries", context=context)
    run = SagaExecution.objects.get(pk=started["execution_id"])
    wait_until(lambda: run.refresh_from_db() or run.status == "waiting", timeout_sec=60, what="the saga to wait")
    yield ask("hub.sagas.signal", execution_id=str(run.pk), name="approved", payload={"secret": canaries.new("a signal's payload")})
    wait_until(lambda: run.refresh_from_db() or run.status == "compensated", timeout_sec=90, what="the saga to be compensated")
    other = ask("hub.sagas.start", saga_name="canaries", context=context)
    yield ask("hub.sagas.cancel", execution_id=other["execution_id"], reason=f"Bearer {canaries.new('the reason of a cancel')}")


def through_events(canaries, ask):
    policy = Policy(max_attempts=1, retry_delay_sec=0.1)
    subscriptions.subscribe("choke", "canary.*", TaskTarget(task="tree.choke", queue=QUEUE), policy=policy)
    payload = {"credential": canaries.new("an event's payload"), "note": KNOWN}
    ask("hub.events.publish", topic="canary.sent", event_type="sent", payload=payload)
    wait_until(DeadLetter.objects.exists, timeout_sec=60, what="the dead letter")


def through_the_rest(canaries, ask, site):
    metadata, key = canaries.new("a service's metadata"), canaries.new("an idempotency key")
    info = {"service_name": "other", "service_version": "1.0", "endpoint": "http://127.0.0.1:9"}
    span = {"span_name": "layer.work", "service_name": "L03"}
    ask(
        "hub.telemetry.record_span",
        **span,
        attributes={"authorization": canaries.new("a span's attribute")},
        status="error",
        status_message=f"token={canaries.new('a message of a span')}",
        events=[{"name": "e", "attributes": {"cookie": canaries.new("a span's event")}}],
    )
    labels = {
        "session_token": canaries.new("a metric's label"),
        "url": f"https://ann:{canaries.new('a url in a label')}@host/",
        "note": KNOWN,
    }
    ask("hub.telemetry.record_metric", metric_name="canary_total", metric_type="counter", value=1, labels=labels)
    received = TraceSpan(**span, start=1.0, end=2.0, attributes={"http.request.header.cookie": canaries.new("the receiver of spans")})
    body = encode_spans([to_otel(received)]).SerializeToString()
    requests.post(f"{site['web']}/v1/traces", body, headers={"Content-Type": "application/x-protobuf"}, timeout=10).raise_for_status()
    query = {"token": canaries.new("a query of a page")}
    requests.get(f"{site['web']}/metrics", params=query, headers={"Authorization": f"Bearer {canaries.new('a bearer token')}"}, timeout=10)
    return [
        ask("hub.registry.register", service={**info, "metadata": {"password": metadata}}),
        ask("hub.requests.route", service_name=SERVICE, method="POST", path="/answer", idempotency_key=f"token:{key}"),
        ask("hub.sagas.start", saga_name="canaries", context={}, idempotency_key=f"password={key}"),
    ]


def everything_is_written(site):
    """Wait until each process has written what it gathered, and Flower what it saw."""
    wait_until(lambda: Span.objects.filter(name="layer.work").count() >= 2, timeout_sec=20, what="the spans")
    wait_until(lambda: "hub.sagas.step" in flower(site, "/api/tasks").text, timeout_sec=30, what="the tasks at Flower")
    wait_until(lambda: "canary_total" in requests.get(f"{site['web']}/metrics", timeout=10).text, timeout_sec=20, what="the metric")


def flower(site, path):
    return requests.get(site["flower"] + path, auth=FLOWER_USER, timeout=10)


def leaks(canaries, site):
    """Return where secrets are: place -> entrances through which they came."""
    places = [*tables(), *files(site["directory"]), *redis_keys(), *flower_pages(site), *pages(site)]
    found = {place: canaries.found_in(text) for place, text in places}
    return {place: entrances for place, entrances in found.items() if entrances}


def tables():
    for model in apps.get_models():
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT * FROM "{model._meta.db_table}"')  # noqa: S608
            yield f"table {model._meta.db_table}", str(cursor.fetchall())


def files(directory):
    for path in [*directory.rglob("*"), *Path(settings.HUB.var_dir).rglob("*")]:
        if path.is_file() and "receipts" not in path.parts:
            with suppress(FileNotFoundError):  # Redis and SQLite have files that are there for a moment
                yield f"file {path.name}", path.read_bytes().decode("latin-1")


def redis_keys():
    keys = [key for key in client().scan_iter(count=1_000) if not any(re.fullmatch(mark.replace("*", ".*"), key) for mark in MESSAGES)]
    for key in keys:
        yield f"Redis {key}", f"{key} {content(key)}"


def content(key):
    """Return what is under the key; nothing if it ended since it was listed, as a lock of some seconds does."""
    kind = client().type(key)
    read = {
        "none": lambda _: "",
        "string": client().get,
        "hash": client().hgetall,
        "set": client().smembers,
        "list": lambda name: client().lrange(name, 0, -1),
        "zset": lambda name: client().zrange(name, 0, -1),
        "stream": client().xrange,
    }
    return read[kind](key)


def flower_pages(site):
    tasks = flower(site, "/api/tasks").json()
    for page in ("/tasks", "/workers", *(f"/task/{task_id}" for task_id in tasks)):
        answer = flower(site, page)
        assert answer.status_code == 200, page
        yield f"Flower {page} {tasks.get(page.removeprefix('/task/'), {}).get('name', '')}", answer.text


def pages(site):
    yield "page /metrics", requests.get(f"{site['web']}/metrics", timeout=10).text
