"""The console in a real browser: it opens cleanly, and an operator puts a saga right with a few clicks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from hub.circuits import breaker
from hub.circuits import services as circuits
from hub.circuits.policy import CircuitState
from hub.console.bulk import operations
from hub.console.bulk.choices import CHOICES
from hub.console.models import OperatorAction
from hub.events.models import DeadLetter
from hub.events.relay import Relay
from hub.redis_client import client as redis_client
from hub.telemetry import store
from hub.telemetry.values import TraceSpan
from sagas import services
from sagas.models import SagaExecution
from tests.console.pages import dead_letters, failed_saga, parked_saga, saga, step_done
from tests.processes import wait_until
from tests.registry.samples import register, row_of
from tests.sagas import ledger

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_old_states():
    """Breakers and dead letters of earlier tests are nobody's business here."""
    redis_client().delete("l03")
    yield
    circuits.reset("L05_planning", by="test", why="over")


def pages(run):
    letter = dead_letters(2)[0]
    sick = row_of(register("L05_planning", status="unhealthy"))
    circuits.force("L05_planning", CircuitState.FORCED_OPEN, by="bob", why="it burns")
    operation = operations.draw_up(CHOICES["saga", "cancel"], [(str(run.pk), str(run), run.status)], by="ann")
    return {
        "overview": "/admin/",
        "sagas": reverse("admin:sagas_sagaexecution_changelist"),
        "saga": reverse("admin:sagas_sagaexecution_change", args=[run.pk]),
        "dry run": reverse("console:saga-plan", args=[run.pk]),
        "traces": reverse("console:traces"),
        "trace": reverse("console:trace", args=[run.trace_id]),
        "queues": reverse("console:queues"),
        "error codes": f"{reverse('console:error-codes')}?q=saga",
        "error code": reverse("console:error-code", args=["E11440"]),
        "audit": reverse("admin:console_operatoraction_changelist"),
        "services": reverse("admin:registry_service_changelist"),
        "service": reverse("admin:registry_service_change", args=[sick.pk]),
        "breakers": reverse("console:circuits"),
        "breaker": reverse("console:circuit", args=["L05_planning"]),
        "other thresholds": reverse("console:circuit_what_if", args=["L05_planning"]) + "?hours=24&failure_threshold=2",
        "causes": reverse("console:causes"),
        "cause": reverse("console:cause", args=[letter.fingerprint]),
        "dead letters": reverse("admin:events_deadletter_changelist"),
        "dead letter": reverse("admin:events_deadletter_change", args=[letter.pk]),
        "subscriptions": reverse("admin:events_subscription_changelist"),
        "subscription": reverse("admin:events_subscription_change", args=[letter.subscription_id]),
        "events": reverse("admin:events_event_changelist"),
        "event": reverse("admin:events_event_change", args=[letter.event_id]),
        "requests": reverse("admin:routing_routedrequest_changelist"),
        "operation": reverse("admin:console_batchoperation_change", args=[operation.pk]),
    }


PARTS = 6
every_part = pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, PARTS))])


def pages_of(part):
    """Return some of the pages: a few for each test, so that none takes long on a busy machine."""
    run = parked_saga()
    store.write([TraceSpan(span_name="step", service_name="hub", trace_id=run.trace_id)])
    return list(pages(run).items())[part::PARTS]


@every_part
def test_each_page_opens_cleanly_at_both_widths_and_keeps_nobody_out(part, visit):
    tab, wide, barriers = visit(), {}, {}

    for name, path in pages_of(part):
        tab.page.set_viewport_size({"width": 1280, "height": 900})
        tab.open(path)
        expect(tab.page.locator("#content")).to_be_visible()
        wide[name, 1280] = tab.overflow_px()
        barriers[name] = tab.barriers()
        tab.page.set_viewport_size({"width": 390, "height": 844})
        wide[name, 390] = tab.overflow_px()

    assert (tab.complaints, tab.outside) == ([], [])
    assert {where: px for where, px in wide.items() if px > 0} == {}
    assert {name: found for name, found in barriers.items() if found} == {}


@pytest.mark.slow
@every_part
def test_each_page_can_be_read_in_the_dark(part, visit):
    tab, barriers = visit(theme="dark"), {}

    for name, path in pages_of(part):
        tab.open(path)
        assert tab.is_dark()
        barriers[name] = tab.barriers("color-contrast")

    assert (tab.complaints, tab.outside) == ([], [])
    assert {name: found for name, found in barriers.items() if found} == {}


def test_the_page_of_what_is_not_there_keeps_nobody_out(visit):
    tab = visit(width=390)

    tab.open(reverse("console:trace", args=["b" * 32]))

    expect(tab.page.locator("h1")).to_contain_text("There is nothing at")
    assert tab.barriers() == []
    assert tab.overflow_px() <= 0


def test_a_barrier_is_seen_where_there_is_one(visit):
    tab = visit()
    tab.open("/admin/")
    planted = '<input><p style="color:#eee;background:#fff">hard to read</p>'
    tab.page.evaluate("planted => document.querySelector('.hub').insertAdjacentHTML('beforeend', planted)", planted)

    assert {one.split(":")[0] for one in tab.barriers()} == {"label", "color-contrast"}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_opens_in_the_theme_that_the_machine_prefers(theme, visit):
    tab = visit(theme=theme, width=390)

    tab.open("/admin/")

    assert tab.is_dark() == (theme == "dark")
    assert (tab.complaints, tab.outside) == ([], [])


@pytest.mark.slow
def test_the_tab_key_comes_by_every_action(visit):
    run, tab = parked_saga(), visit()
    opened = pages(run)

    for name, few in (("saga", 3), ("service", 3), ("breaker", 4), ("cause", 2), ("dead letter", 3), ("operation", 0), ("subscription", 1)):
        tab.open(opened[name])
        all_of_them = {one.strip() for one in tab.page.locator(".hub-action > summary").all_inner_texts()}
        assert len(all_of_them) >= few
        assert tab.actions_by_tab(len(all_of_them)) == all_of_them, name


def failed_by_a_worker():
    started = services.start("no_undo", {"plan": {"b": "fail"}})
    run = SagaExecution.objects.get(pk=started["execution_id"])
    wait_until(lambda: SagaExecution.objects.filter(pk=run.pk, status="failed").exists(), timeout_sec=20, what="the saga to fail")
    return run


def test_from_a_failed_saga_on_the_overview_to_compensated(worker, visit):
    run = failed_by_a_worker()
    tab = visit()
    tab.open("/admin/")

    tab.click(tab.page.get_by_role("link", name=str(run)))
    tab.click(tab.page.locator("summary", has_text="Compensate now"))
    tab.page.get_by_label("Reason, for the history").locator("visible=true").fill("the customer called it off")
    tab.click(tab.page.get_by_role("button", name="Compensate now"))
    expect(tab.page.locator('[data-live="story"]')).to_contain_text("everything that happened was undone")

    assert tab.clicks <= 4
    assert ledger.effects(str(run.pk)) == ["a.do", "b.do", "a.undo"]
    done = OperatorAction.objects.get()
    assert (done.by, done.reason, done.outcome) == ("ann", "the customer called it off", "done")
    assert (tab.complaints, tab.outside) == ([], [])


def test_from_the_overview_to_a_cause_that_is_replayed(visit, no_worker):
    letters = dead_letters(3)
    tab = visit()
    tab.open("/admin/")

    tab.click(tab.page.get_by_role("heading", name="Dead letters").get_by_role("link"))
    tab.click(tab.page.get_by_role("link", name="gone"))
    tab.click(tab.page.locator("summary", has_text="Replay all"))
    tab.page.get_by_label("How many a second").locator("visible=true").fill("1000")
    tab.page.get_by_label("Reason, for the history").locator("visible=true").fill("the mailer is back")
    tab.click(tab.page.get_by_role("button", name="Replay all"))
    expect(tab.page.locator('[data-live="runs"]')).to_contain_text("0 of 3")
    relay = Relay(claim_idle_ms=0)
    wait_until(lambda: relay.round(block_ms=0) or redis_client().llen("l03") == 3, timeout_sec=30, what="three messages for the subscriber")
    expect(tab.page.locator('[data-live="story"]')).to_contain_text("No letter of this cause is open")

    assert tab.clicks <= 4
    assert {DeadLetter.objects.get(pk=letter.pk).status for letter in letters} == {"replayed"}
    done = OperatorAction.objects.get()
    assert (done.by, done.action, done.reason, done.outcome) == ("ann", "Replay all", "the mailer is back", "done")


def test_from_the_overview_to_a_breaker_that_is_forced_open(visit):
    register("L05_planning")
    tab = visit()
    tab.open("/admin/")

    tab.click(tab.page.get_by_role("link", name="Circuit breakers").first)
    tab.click(tab.page.get_by_role("link", name="L05_planning"))
    tab.click(tab.page.locator("summary", has_text="Force open"))
    tab.page.get_by_label("Reason, for the history").locator("visible=true").fill("it burns")
    tab.click(tab.page.get_by_role("button", name="Force open"))
    expect(tab.page.locator('[data-live="story"]')).to_contain_text("Forced open")

    assert tab.clicks <= 4
    seen = breaker.look("L05_planning")
    assert (seen.state, seen.manual_by, seen.manual_why) == (CircuitState.FORCED_OPEN, "ann", "it burns")
    assert (tab.complaints, tab.outside) == ([], [])


def test_from_the_overview_to_a_service_in_maintenance(worker, visit):
    sick = register("L05_planning", "http://127.0.0.1:1", status="unhealthy")
    tab = visit()
    tab.open("/admin/")

    tab.click(tab.page.get_by_role("link", name="L05_planning is unhealthy"))
    tab.click(tab.page.locator("summary", has_text="Begin maintenance"))
    tab.page.get_by_label("For how many minutes").fill("45")
    tab.page.get_by_label("Reason, for the history").locator("visible=true").fill("a new disk")
    tab.click(tab.page.get_by_role("button", name="Begin maintenance"))
    expect(tab.page.locator('[data-live="story"]')).to_contain_text("by ann: a new disk")

    assert tab.clicks <= 4
    row = row_of(sick)
    assert row.maintenance_until is not None
    assert timedelta(minutes=40) < row.maintenance_until - timezone.now() <= timedelta(minutes=45)


def test_many_are_chosen_seen_and_discarded_by_a_worker(worker, visit):
    dead_letters(4)
    tab = visit()
    tab.open(reverse("admin:events_deadletter_changelist"))

    tab.page.locator("#action-toggle").check()
    tab.page.locator("select[name=action]").select_option("discard")
    tab.click(tab.page.get_by_role("button", name="Run"))
    expect(tab.page.locator('[data-live="story"]')).to_contain_text("4 dead letters would be acted on")
    tab.click(tab.page.locator("summary", has_text="Start"))
    tab.page.get_by_label("Reason, for the history").locator("visible=true").fill("a test run")
    tab.click(tab.page.get_by_role("button", name="Start"))
    expect(tab.page.locator('[data-live="story"]')).to_contain_text("Done: 4 of 4 acted on")

    assert DeadLetter.objects.filter(status="discarded", reason="a test run").count() == 4
    assert (tab.complaints, tab.outside) == ([], [])


def test_an_action_is_reached_by_the_keyboard_alone(visit):
    run = failed_saga()
    tab = visit()
    tab.open(reverse("admin:sagas_sagaexecution_change", args=[run.pk]))

    tab.page.locator("summary", has_text="Mark as put right by hand").focus()
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.type("settled by phone")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator('[data-live="story"]')).to_contain_text("Compensated")

    assert SagaExecution.objects.get(pk=run.pk).status == "compensated"


def test_a_form_without_a_reason_is_not_sent(visit):
    run = failed_saga()
    tab = visit()
    tab.open(reverse("admin:sagas_sagaexecution_change", args=[run.pk]))

    tab.click(tab.page.locator("summary", has_text="Compensate now"))
    tab.click(tab.page.get_by_role("button", name="Compensate now"))

    assert tab.page.locator("input[name=reason]:invalid").locator("visible=true").count() == 1
    assert SagaExecution.objects.get(pk=run.pk).status == "failed"


def test_what_is_no_json_is_not_sent_and_stays_to_be_put_right(visit):
    run = failed_saga()
    tab = visit()
    tab.open(reverse("admin:sagas_sagaexecution_change", args=[run.pk]))
    tab.click(tab.page.locator("summary", has_text="Run again from a step"))
    wanted = tab.page.locator("textarea").locator("visible=true")
    tab.page.get_by_label("Reason, for the history").locator("visible=true").fill("with another version")

    for text in ('{"version": 2', "[2]"):
        wanted.fill(text)
        tab.click(tab.page.get_by_role("button", name="Run again from a step"))

        assert wanted.input_value() == text
        assert tab.page.locator("textarea:invalid").locator("visible=true").count() == 1
    assert SagaExecution.objects.count() == 1

    wanted.fill('{"version": 2}')
    tab.click(tab.page.get_by_role("button", name="Run again from a step"))

    wait_until(lambda: SagaExecution.objects.count() == 2, what="the run from a step")


def test_the_overview_follows_what_happens_and_pauses_while_hidden(visit):
    tab = visit()
    tab.open("/admin/")
    troubles = tab.page.locator('[data-live="troubles"]')
    expect(troubles).not_to_contain_text("no_undo")

    run = failed_saga()
    expect(troubles).to_contain_text(str(run), timeout=15_000)

    tab.page.evaluate("Object.defineProperty(document, 'hidden', {value: true})")
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.page.wait_for_timeout(6_500)
    assert asked == []


def test_a_page_of_somebody_who_was_logged_out_says_that_it_is_old(visit):
    tab = visit()
    tab.open(reverse("admin:sagas_sagaexecution_change", args=[saga().pk]))
    expect(tab.page.get_by_text("Accepted, no step has begun")).to_be_visible()

    Session.objects.all().delete()
    expect(tab.page.get_by_role("status").filter(has_text="or you are logged out")).to_be_visible()


def test_what_somebody_types_is_not_swept_away_by_a_refresh(visit):
    run = saga()
    step_done(run, 0)
    tab = visit()
    tab.open(reverse("admin:sagas_sagaexecution_change", args=[run.pk]))
    tab.click(tab.page.locator("summary", has_text="Cancel"))
    reason = tab.page.get_by_label("Reason, for the history").locator("visible=true")
    reason.fill("half a sen")

    with tab.page.expect_response(lambda answer: "sagaexecution" in answer.url):
        pass
    SagaExecution.objects.filter(pk=run.pk).update(status="completed")
    expect(tab.page.locator('[data-live="story"]')).to_contain_text("Completed", timeout=8_000)

    assert reason.input_value() == "half a sen"
