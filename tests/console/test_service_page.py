"""Services, breakers, subscriptions: the sick first, each with its reason, what fails with it, and what can be done."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from hub.circuits import breaker
from hub.circuits import services as circuits
from hub.circuits.policy import CircuitState
from hub.console.services import blast, drawing
from hub.events.models import Subscription
from hub.redis_client import client as redis_client
from hub.routing.models import RoutedRequest
from registry_app import health, services
from registry_app.rules import Finding, Verdict
from sagas import spec as specs
from tests.console.pages import act, person, saga
from tests.registry.samples import register, row_of

pytestmark = pytest.mark.django_db
LIST = "admin:registry_service_changelist"


@pytest.fixture(autouse=True)
def _quiet_redis():
    redis_client().flushdb()


@pytest.fixture
def sick():
    info = register("L03_tools", "http://127.0.0.1:1")
    for verdict in (Verdict.GOOD, Verdict.BAD, Verdict.BAD, Verdict.BAD):
        health.record(info.service_id, {"probe": Finding(verdict=verdict, reason="<b>refused</b>", took_ms=3)}, at=timezone.now())
    return row_of(info)


@pytest.fixture
def viewer():
    return person("hub viewer")


def text_of(browser, name, *args, **query):
    answer = browser.get(reverse(name, args=args), query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_list_shows_the_sick_first_each_with_its_reason(viewer, sick):
    register("well", "http://127.0.0.1:2", status="healthy")

    html = text_of(viewer, LIST)

    assert html.index("http://127.0.0.1:1") < html.index("http://127.0.0.1:2")
    assert "probe: &lt;b&gt;refused&lt;/b&gt;" in html
    assert "<b>refused</b>" not in html
    assert html.count('title="bad"') == 3


def test_who_left_is_not_listed_unless_asked(viewer, sick):
    services.deregister(sick.service_id)

    assert "http://127.0.0.1:1" not in text_of(viewer, LIST)
    assert "http://127.0.0.1:1" in text_of(viewer, LIST, registered="no")


def test_the_page_says_what_each_witness_says_and_what_changed(viewer, sick):
    html = text_of(viewer, "admin:registry_service_change", sick.pk)

    assert "bad, &lt;b&gt;refused&lt;/b&gt;" in html
    assert html.count('class="hub-probe-bad"') == 3
    assert "half less than 3 ms" in html
    assert "registered" in html


def test_the_page_says_what_fails_with_it(viewer, sick):
    run, subscription = saga("deploy_application_broken", app="shop", version="1"), "tools hear of agents"
    Subscription.objects.create(name=subscription, pattern="agent.*", kind="http", service_name="L03_tools", path="/events")
    called = next(call.where for step in _steps(run) for call in (step.do, step.undo) if call and call.kind == "http")
    register(called, "http://127.0.0.1:3")

    found = blast.radius(row_of(register(called, "http://127.0.0.1:3")))

    assert (found.in_flight, found.sagas, [one.pk for one in found.runs]) == (1, [(run.saga_name, 1)], [run.pk])
    assert subscription in text_of(viewer, "admin:registry_service_change", sick.pk)
    assert str(run) in text_of(viewer, "admin:registry_service_change", row_of(register(called, "http://127.0.0.1:3")).pk)


def _steps(run):
    return specs.from_dict(run.definition.snapshot).steps


def test_a_service_that_nothing_calls_takes_nothing_with_it(sick):
    saga("three_steps")

    found = blast.radius(sick)

    assert (found.in_flight, found.runs, found.subscriptions, found.others) == (0, [], [], 0)


def test_the_newest_probes_stand_at_the_right():
    assert [(bar.x, bar.kind) for bar in drawing.tracker("gsb")] == [(285, "good"), (290, "slow"), (295, "bad")]
    assert len(drawing.tracker("g" * 80)) == 60
    assert drawing.sparkline([]) is None
    line = drawing.sparkline([10, 20, 40])
    assert (line.last_ms, line.p50_ms, line.highest_ms) == (40, 20, 40)
    assert line.points.split()[-1] == "295,1.0"


def test_the_board_shows_breakers_that_refuse_first_and_services_without_a_call(viewer):
    register("L09_quiet", "http://127.0.0.1:9")
    circuits.reset("L02_runtime", by="ann", why="x")
    circuits.force("L05_planning", CircuitState.FORCED_OPEN, by="ann", why="it <i>burns</i>")

    html = text_of(viewer, "console:circuits")

    assert html.index("L05_planning") < html.index("L02_runtime") < html.index("L09_quiet")
    assert "by ann: it &lt;i&gt;burns&lt;/i&gt;" in html


def test_the_page_of_a_breaker_shows_the_policy_and_what_became_of_it():
    admin = person("hub admin")
    act(admin, "circuit", "L05_planning", "thresholds", failure_threshold="9")
    act(admin, "circuit", "L05_planning", "force-open", minutes="10", reason="a move")

    html = text_of(admin, "console:circuit", "L05_planning")

    assert "Forced open until" in html
    assert "set by hand" in html
    assert html.count("a move") >= 3  # the state, the transition and the record
    act(admin, "circuit", "L05_planning", "thresholds")
    assert breaker.look("L05_planning").overrides == {}


def test_other_thresholds_are_tried_on_what_happened(viewer):
    began = timezone.now() - timedelta(minutes=5)
    attempt = {"code": "E11343", "outcome": "unknown", "status_code": None, "connect_ms": 0, "server_ms": 0, "waited_ms": 0}
    for second in range(3):
        RoutedRequest.objects.create(
            service_name="L02_runtime", method="GET", path="/", outcome="unknown", duration_ms=10,
            decision={"attempts": [attempt]}, created_at=began + timedelta(seconds=second),
        )  # fmt: skip

    asked = text_of(viewer, "console:circuit_what_if", "L02_runtime")
    tried = text_of(viewer, "console:circuit_what_if", "L02_runtime", hours="1", failure_threshold="2")
    refused = text_of(viewer, "console:circuit_what_if", "L02_runtime", hours="1", failure_threshold="0")
    nothing = text_of(viewer, "console:circuit_what_if", "L05_planning", hours="1")

    assert 'placeholder="5"' in asked
    assert "3 calls since" in tried
    rows = [re.findall("<td>([0-9]+)</td>", row) for row in tried.split("<tr>") if "</td>" in row]
    assert rows == [["0", "0", "0", "3"], ["1", "0", "1", "2"]]
    assert "consecutive failures" in tried
    assert "E11201" in refused
    assert "3 calls since" not in refused
    assert "No call of L05_planning is recorded" in nothing


def test_no_breaker_has_a_malformed_name(viewer):
    assert viewer.get(reverse("console:circuit", args=["a b"])).status_code == 404


def test_a_route_is_paused_above_its_form():
    route = Subscription.objects.create(name="r", pattern="agent.*", kind="http", service_name="L02_runtime", path="/events")

    html = text_of(person("hub admin"), "admin:events_topicroute_change", route.pk)

    assert f"/act/subscription/{route.pk}/pause/" in html
    assert f"/act/subscription/{route.pk}/resume/" not in html
