"""Links to Flower: to workers, queues and tasks where somebody said where it is, and none where nobody did."""

from __future__ import annotations

import json
import re

import pytest
from django.core.checks import run_checks
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from hub.console import flower
from hub.redis_client import client as redis_client
from hub.routing.models import RoutedRequest
from hub.telemetry import conventions, readers, store, tracing
from hub.telemetry.values import TraceSpan
from sagas import claims, engine, services
from sagas import store as runs
from sagas.models import SagaExecution
from sagas.states import Direction
from tests.console.pages import person, saga

FLOWER = "https://ops.example/flower"


@pytest.fixture
def somewhere(settings):
    settings.HUB = settings.HUB.model_copy(update={"flower_url": FLOWER})


@pytest.fixture
def viewer(db):
    return person("hub viewer")


def html_of(browser, name, *args):
    return browser.get(reverse(name, args=args)).content.decode()


def saga_page(browser, run):
    return html_of(browser, "admin:sagas_sagaexecution_change", run.pk)


@pytest.mark.parametrize(
    ("page", "name", "expected"),
    [
        ("", "", "https://ops.example/flower/"),
        ("broker", "", "https://ops.example/flower/broker"),
        ("worker", "hub@box-1", "https://ops.example/flower/worker/hub@box-1"),
        ("task", 'a/../"><b', "https://ops.example/flower/task/a%2F..%2F%22%3E%3Cb"),
    ],
)
def test_an_address_is_that_of_the_setting_and_a_quoted_name(page, name, expected, somewhere):
    assert flower.url(page, name) == expected


def problems(settings, url):
    settings.HUB = settings.HUB.model_copy(update={"flower_url": url})
    return [(found.id, found.msg) for found in run_checks(tags=["hub"])]


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:5555", "https://ops.example/flower/", "http://[::1]:5555/"])
def test_an_address_of_a_page_passes_the_check(url, settings):
    assert problems(settings, url) == []


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "ops.example",
        "ftp://ops.example",
        "http://",
        "http://a:b@ops.example",
        "http://x/?a=1",
        "http://x:none",
        "http://[x",
    ],
)
def test_what_is_no_page_or_holds_a_password_is_refused_and_never_linked(url, settings):
    assert problems(settings, url) == [("hub.E003", "HUB_FLOWER_URL is not the address of a page")]
    assert flower.url("broker") == ""


@pytest.fixture
def a_reader():
    now = redis_client().time()[0]
    redis_client().set(readers.ASKED_KEY, now)
    redis_client().hset(readers.KEY, "hub@box-1", json.dumps({"at": now, "queues": ["hub.sagas"]}))
    yield
    redis_client().delete(readers.ASKED_KEY, readers.KEY)


def test_workers_queues_and_the_side_bar_lead_to_flower(viewer, somewhere, a_reader):
    html = html_of(viewer, "console:queues")

    assert f'href="{FLOWER}/worker/hub@box-1" target="_blank" rel="noopener noreferrer" aria-label="hub@box-1 in Flower"' in html
    assert f'href="{FLOWER}/broker" target="_blank" rel="noopener noreferrer" aria-label="hub.sagas in Flower"' in html
    assert f'href="{FLOWER}/"' in html_of(viewer, "admin:index")


def test_who_may_not_see_the_queues_is_not_sent_to_flower(client, django_user_model, db, somewhere):
    client.force_login(django_user_model.objects.create_user("guest", is_staff=True))

    assert FLOWER not in html_of(client, "admin:index")


def test_without_the_setting_there_is_no_link(viewer, a_reader):
    run, request = start(), routed(task_id="t-1")
    performed(run, "task-1")

    pages = [html_of(viewer, "console:queues"), html_of(viewer, "admin:index"), saga_page(viewer, run)]
    pages.append(html_of(viewer, "admin:routing_routedrequest_change", request.pk))

    assert [page for page in pages if "in Flower" in page or ">Flower<" in page] == []


def start(**plan):
    return SagaExecution.objects.get(pk=services.start("three_steps", {"plan": plan})["execution_id"])


def performed(run, task_id):
    """Let this process carry out the first step, as the worker of a message does."""
    run.steps.filter(index=0).update(due_at=None)
    engine.perform(str(run.pk), 0, Direction.DO, task_id=task_id)
    tracing.flush()


def test_each_attempt_of_a_saga_leads_to_its_task(viewer, somewhere):
    run = start(a="fail once")
    performed(run, "task-1")
    performed(run, "task-2")

    page = saga_page(viewer, run)

    assert re.findall(rf"{FLOWER}/task/([^\"]+)", page) == ["task-1", "task-2"]


def test_an_attempt_under_way_is_known_by_its_row(viewer, somewhere):
    run = saga()
    attempt = claims.claim(runs.load(run.pk), 0, Direction.DO, task_id="task-9")
    assert attempt is not None

    assert f'href="{FLOWER}/task/task-9"' in saga_page(viewer, run)


def test_the_links_of_a_saga_cost_one_query(viewer, settings):
    run = start()
    performed(run, "task-1")
    counts = []
    for url in ("", "", FLOWER):
        settings.HUB = settings.HUB.model_copy(update={"flower_url": url})
        with CaptureQueriesContext(connection) as seen:
            saga_page(viewer, run)
        counts.append(len(seen))

    assert counts[2] == counts[1] + 1 <= 25


def routed(**attempt):
    told = {"trace_id": "a" * 32, "correlation_id": "c", "decision": {"attempts": [{"outcome": "ok", **attempt}]}}
    return RoutedRequest.objects.create(service_name="L03", method="POST", path="/x", outcome="ok", duration_ms=1, **told)


def test_a_request_leads_to_its_trace_and_its_task(viewer, somewhere):
    html = html_of(viewer, "admin:routing_routedrequest_change", routed(task_id="t-1").pk)

    assert f'href="{FLOWER}/task/t-1"' in html
    assert reverse("console:trace", args=["a" * 32]) in html


@pytest.mark.parametrize(("system", "is_linked"), [("celery", True), ("kafka", False)])
def test_a_span_of_a_task_leads_to_it(system, is_linked, viewer, somewhere):
    attributes = {conventions.MESSAGING_SYSTEM: system, conventions.MESSAGING_MESSAGE_ID: "m-1"}
    store.write([TraceSpan(span_name="process hub", trace_id="a" * 32, attributes=attributes)])

    assert (f"{FLOWER}/task/m-1" in html_of(viewer, "console:trace", "a" * 32)) == is_linked
