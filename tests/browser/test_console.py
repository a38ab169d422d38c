"""The console in a real browser: it opens cleanly, and an operator puts a saga right with a few clicks."""

from __future__ import annotations

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from hub.console.models import OperatorAction
from hub.telemetry import store
from hub.telemetry.values import TraceSpan
from sagas import services
from sagas.models import SagaExecution
from tests.console.pages import failed_saga, parked_saga, saga, step_done
from tests.processes import wait_until
from tests.sagas import ledger

pytestmark = pytest.mark.django_db(transaction=True)


def pages(run):
    return {
        "overview": "/admin/",
        "sagas": reverse("admin:sagas_sagaexecution_changelist"),
        "saga": reverse("admin:sagas_sagaexecution_change", args=[run.pk]),
        "dry run": reverse("console:saga-plan", args=[run.pk]),
        "traces": reverse("console:traces"),
        "trace": reverse("console:trace", args=[run.trace_id]),
        "queues": reverse("console:queues"),
        "error codes": reverse("console:error-codes"),
        "error code": reverse("console:error-code", args=["E11440"]),
        "audit": reverse("admin:console_operatoraction_changelist"),
        "services": reverse("admin:registry_service_changelist"),
        "breakers": reverse("console:circuits"),
        "dead letters": reverse("admin:events_deadletter_changelist"),
        "requests": reverse("admin:routing_routedrequest_changelist"),
    }


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_each_page_opens_without_a_complaint_or_an_outside_request(theme, width, visit):
    run = parked_saga()
    store.write([TraceSpan(span_name="step", service_name="hub", trace_id=run.trace_id)])
    tab = visit(theme=theme, width=width)

    wide = {}
    for name, path in pages(run).items():
        tab.open(path)
        expect(tab.page.locator("#content")).to_be_visible()
        wide[name] = tab.overflow_px()

    assert tab.is_dark() == (theme == "dark")
    assert (tab.complaints, tab.outside) == ([], [])
    assert {name: px for name, px in wide.items() if px > 0} == {}


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
