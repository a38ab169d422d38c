"""The page of a saga: the cause first, and actions that act once, with a reason and a record."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from hub.console.models import OperatorAction
from sagas import services
from sagas.models import SagaExecution, SagaTransition
from tests.console import pages
from tests.console.pages import failed_saga, parked_saga, person, saga, step_done, token, waiting_saga
from tests.registry.samples import register, row_of

pytestmark = pytest.mark.django_db


def page_of(run):
    return reverse("admin:sagas_sagaexecution_change", args=[run.pk])


def text_of(browser, run):
    return browser.get(page_of(run)).content.decode()


def act(browser, run, name, **form):
    return pages.act(browser, "saga", run.pk, name, **form)


def status_of(run):
    return SagaExecution.objects.get(pk=run.pk).status


@pytest.fixture
def operator():
    return person("hub operator")


@pytest.fixture
def stranded():
    """Return a run before an operator because nobody reads a queue; it waits for a signal once it goes on."""
    run = waiting_saga()
    row = SagaExecution.objects.get(pk=run.pk)
    why = {"code": "E11431", "message": "no live worker reads queue 'nobody'"}
    row.status, row.blocked_at, row.blocked_reason, row.error = "needs_operator", timezone.now(), "E11431: no worker", why
    row.save()
    return row


def test_of_a_parked_run_it_is_said_that_it_goes_on_by_itself(operator, stranded, capsys):
    html = text_of(operator, stranded)

    assert "It is sent on by itself when that is no longer so" in html
    assert "Nothing happens until somebody decides" not in html
    call_command("saga", "show", str(stranded.pk))
    assert "It is sent on by itself when that is no longer so" in capsys.readouterr().out


def test_a_signal_is_offered_while_it_would_send_the_run_on(operator, stranded):
    assert "Give the signal" not in text_of(operator, stranded)
    assert "Give the signal" in text_of(operator, waiting_saga())


def test_the_cause_stands_first(operator):
    html = text_of(operator, failed_saga())

    assert html.index("Failed, and nothing was undone") < html.index("broken") < html.index("Course")
    assert "/admin/console/errors/E11440/" in html


def test_an_undo_that_failed_is_the_cause_of_an_incomplete_rollback(operator):
    html = text_of(operator, parked_saga())

    assert "Needs an operator" in html
    assert "the account is closed" in html
    assert "Could not be undone" in html


def test_a_step_names_the_service_that_served_it_and_leads_there(operator):
    run, service = failed_saga(), row_of(register("L05_planning"))
    run.steps.filter(index=0).update(served_by=service.service_id)
    run.steps.filter(index=1).update(served_by="gone-since")

    html = text_of(operator, run)

    assert f'<a href="{reverse("admin:registry_service_change", args=[service.pk])}">L05_planning</a>' in html
    assert "gone-since" in html


def test_secrets_in_the_context_are_not_shown(operator):
    html = text_of(operator, failed_saga(password="hunter2hunter2", note="harmless"))

    assert "hunter2" not in html
    assert "harmless" in html


def test_text_of_a_layer_is_never_markup(operator):
    html = text_of(operator, failed_saga(note="<script>alert(1)</script>"))

    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html


@pytest.mark.parametrize(
    ("make", "offered"),
    [
        (failed_saga, {"compensate", "retry", "skip", "resolve", "rerun"}),
        (parked_saga, {"retry-undo", "skip", "resolve", "rerun"}),
        (saga, {"cancel"}),
    ],
)
def test_only_what_the_machine_would_accept_is_offered(make, offered, operator):
    run = make()
    html = text_of(operator, run)

    assert {
        name for name in ("compensate", "retry", "retry-undo", "skip", "cancel", "resolve", "rerun") if f"/{run.pk}/{name}/" in html
    } == offered


@pytest.mark.parametrize(
    ("make", "name", "form", "status"),
    [
        (failed_saga, "compensate", {}, "compensating"),
        (failed_saga, "retry", {}, "running"),
        (failed_saga, "skip", {"step": "b"}, "completed"),
        (failed_saga, "resolve", {"outcome": "completed"}, "completed"),
        (parked_saga, "retry-undo", {}, "compensating"),
        (parked_saga, "skip", {"step": "b"}, "compensated"),
        (parked_saga, "resolve", {"outcome": "compensated"}, "compensated"),
    ],
)
def test_an_action_moves_the_saga_and_is_written_down(make, name, form, status, operator):
    run = make()

    act(operator, run, name, reason="the disk is free", **form)

    done = OperatorAction.objects.get()
    assert status_of(run) == status  # no worker sees the rows of this test, so nothing moves by itself
    assert (done.by, done.reason, done.outcome, done.before["status"]) == ("ann", "the disk is free", "done", run.status)
    assert done.after["status"] == status
    assert SagaTransition.objects.filter(execution=run, actor="ann").exists()


def test_a_running_saga_is_cancelled(operator):
    run = saga()
    step_done(run, 0)

    act(operator, run, "cancel")

    assert status_of(run) == "compensating"


def test_running_again_from_a_step_makes_a_new_saga_with_the_changes(operator):
    run = failed_saga()

    act(operator, run, "rerun", step="b", changes='{"size": 1}')

    new = SagaExecution.objects.get(rerun_of=run)
    assert new.context["size"] == 1
    assert str(new.pk) in text_of(operator, run)


def test_a_refused_action_shows_its_code_and_is_written_down(operator):
    run = failed_saga()
    act(operator, run, "compensate")

    answer = act(operator, run, "retry")

    assert "E11425" in answer.content.decode()
    refused = OperatorAction.objects.get(outcome="refused")
    assert refused.code == "E11425"
    assert refused.after["status"] == "compensating"


def test_changes_that_are_not_json_are_refused(operator):
    answer = act(operator, failed_saga(), "rerun", step="b", changes="{")

    assert "E11904" in answer.content.decode()
    assert SagaExecution.objects.count() == 1


def test_who_was_logged_out_reads_after_the_log_in_that_nothing_was_done(operator):
    run = failed_saga()
    User.objects.filter(username="ann").update(password=make_password("a long word"))
    browser = Client()
    url = reverse("console:act", args=["saga", run.pk, "compensate"])
    to_log_in = browser.post(url, {"reason": "because", "token": token()})

    html = browser.post(to_log_in["Location"], {"username": "ann", "password": "a long word", "next": url}, follow=True).content.decode()

    assert "Compensate now was not done: you were logged out" in html
    assert "Failed, and nothing was undone" in html
    assert status_of(run) == "failed"


def test_a_form_of_an_earlier_log_in_says_what_to_do():
    person("hub operator")
    browser, run = Client(enforce_csrf_checks=True), failed_saga()
    browser.force_login(User.objects.get(username="ann"))
    old_form = browser.get(page_of(run)).context["csrf_token"]
    browser.cookies["csrftoken"] = "x" * 32  # as a log-in in another tab leaves it

    answer = browser.post(
        reverse("console:act", args=["saga", run.pk, "retry"]), {"csrfmiddlewaretoken": str(old_form), "reason": "x", "token": token()}
    )

    assert answer.status_code == 403
    assert "E11984" in answer.content.decode()
    assert "go back, load the page again and send the form once more" in answer.content.decode()


def test_get_changes_nothing(operator):
    run = failed_saga()
    before = SagaTransition.objects.count()

    for url in (page_of(run), reverse("console:saga-plan", args=[run.pk])):
        assert operator.get(url).status_code == 200
    assert operator.get(reverse("console:act", args=["saga", run.pk, "compensate"])).status_code == 302
    assert operator.post(page_of(run), {"status": "completed"}).status_code == 405

    assert (status_of(run), SagaTransition.objects.count()) == ("failed", before)


def test_a_viewer_sees_everything_and_changes_nothing():
    viewer, run = person("hub viewer"), failed_saga()

    html = text_of(viewer, run)
    answer = act(viewer, run, "compensate")

    assert "Failed, and nothing was undone" in html
    assert "<form" not in html.split('data-live="actions"')[1].split("</section>")[0]
    assert (answer.status_code, status_of(run), OperatorAction.objects.count()) == (403, "failed", 0)


def test_the_dry_run_says_what_would_be_undone(operator):
    run = saga()
    step_done(run, 0)

    html = operator.get(reverse("console:saga-plan", args=[run.pk])).content.decode()

    assert "1 undo would be made" in html
    assert status_of(run) == "running"


def test_a_dry_run_is_offered_of_what_can_be_done(operator):
    running, failed, ended = saga(), failed_saga(), saga()
    SagaExecution.objects.filter(pk=ended.pk).update(status="completed")

    assert "What would cancel do now?" in text_of(operator, running)
    assert "What would compensate do now?" in text_of(operator, failed)
    assert "do now?" not in text_of(operator, ended)


def test_a_saga_that_is_not_there_is_not_found(operator):
    assert operator.get(reverse("admin:sagas_sagaexecution_change", args=["nonsense"])).status_code == 404


def test_the_record_is_shown_and_not_changed():
    admin, run = person("hub admin", "root"), failed_saga()
    act(admin, run, "compensate")
    row = OperatorAction.objects.get()

    assert admin.get(reverse("admin:console_operatoraction_changelist")).status_code == 200
    detail = reverse("admin:console_operatoraction_change", args=[row.pk])
    assert admin.get(detail).status_code == 200
    assert admin.post(detail, {"reason": "other"}).status_code == 403
    assert admin.post(reverse("admin:console_operatoraction_delete", args=[row.pk]), {"post": "yes"}).status_code == 403


def test_the_page_makes_as_many_queries_for_a_long_history_as_for_a_short_one(operator):
    short, long = failed_saga(), failed_saga()
    SagaTransition.objects.bulk_create(
        SagaTransition(execution=long, at=long.created_at, step_id="a", old="waiting", new="running", reason="attempt 2")
        for _ in range(300)
    )

    def fewest(run):
        """Return the queries of the page; what a process remembers for a while is asked for again now and then."""
        counts = []
        for _ in range(3):
            with CaptureQueriesContext(connection) as seen:
                text_of(operator, run)
            counts.append(len(seen))
        return min(counts)

    assert fewest(short) == fewest(long) <= 25


@pytest.mark.parametrize("before", [failed_saga, parked_saga])
def test_a_saga_that_was_run_again_is_offered_nothing_that_the_new_run_forbids(operator, before):
    run = before()
    again = services.rerun(str(run.pk), "a", reason="a smaller image")["execution_id"]

    html = text_of(operator, run)
    offered = {name for name in ("compensate", "retry", "retry-undo", "skip", "rerun") if f"/{run.pk}/{name}/" in html}

    assert offered == set()
    assert f"/{run.pk}/resolve/" in html
    assert f"See to {again}: this saga was run again as that one" in html
    assert "What would compensate do now?" not in html


def test_a_saga_whose_second_run_was_undone_may_be_sent_on(operator):
    run = failed_saga()
    again = services.rerun(str(run.pk), "a", reason="a smaller image")["execution_id"]
    SagaExecution.objects.filter(pk=again).update(status="compensated")

    assert f"/{run.pk}/retry/" in text_of(operator, run)


def test_the_history_of_a_saga_that_waits_for_days_names_the_days(operator):
    run = failed_saga()
    SagaTransition.objects.filter(execution=run).update(at=datetime(2026, 3, 1, 3, 1, 19, tzinfo=UTC))

    assert "2026-03-01 03:01:19.000000" in text_of(operator, run)
