"""An action on many things: the list is frozen and counted first, each item acts once, and the rest can be left alone."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from hub.console import audit
from hub.console.bulk import operations
from hub.console.bulk.choices import CHOICES
from hub.console.models import BatchItem, BatchOperation, OperatorAction
from hub.events.models import DeadLetter
from sagas.models import SagaExecution
from tests.console.pages import act, dead_letters, failed_saga, person, saga, step_done
from tests.processes import wait_until

SAGAS = "admin:sagas_sagaexecution_changelist"
LETTERS = "admin:events_deadletter_changelist"


@pytest.fixture
def operator(db):
    return person("hub operator")


def draw_up(browser, listing, action, rows, **query):
    """Choose rows in a list and return the operation that comes of it."""
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows], **query}
    answer = browser.post(reverse(listing), chosen)
    assert answer.status_code == 302, answer.content.decode()[:500]
    return BatchOperation.objects.latest("created_at")


def outcomes(operation):
    return dict(BatchItem.objects.filter(operation=operation).values_list("subject_id", "status"))


def text_of(browser, operation, **query):
    return browser.get(reverse("admin:console_batchoperation_change", args=[operation.pk]), query).content.decode()


def run_all(operation):
    operations.step(str(operation.pk))


def test_the_list_is_frozen_and_counted_before_anything_is_done(operator):
    failed, going = failed_saga(), saga()

    operation = draw_up(operator, SAGAS, "compensate", [failed, going])
    failed_saga()  # comes too late

    html = text_of(operator, operation)
    assert "1 saga would be acted on; nothing was done yet" in html
    assert "it is pending" in html
    assert outcomes(operation) == {str(failed.pk): "waiting", str(going.pk): "ineligible"}
    assert SagaExecution.objects.get(pk=failed.pk).status == "failed"


def test_each_is_acted_on_once_in_the_name_of_who_said_yes(operator):
    runs = [failed_saga() for _ in range(3)]
    operation = draw_up(operator, SAGAS, "compensate", runs)
    act(operator, "batch", operation.pk, "start", reason="the vendor is gone")

    for _ in range(2):
        run_all(operation)

    operation.refresh_from_db()
    assert (operation.status, operation.reason, set(outcomes(operation).values())) == ("done", "the vendor is gone", {"done"})
    done = OperatorAction.objects.filter(subject="saga")
    assert [(one.by, one.action, one.reason) for one in done] == [("ann", "Compensate now", "the vendor is gone")] * 3
    assert {SagaExecution.objects.get(pk=run.pk).status for run in runs} == {"compensating"}
    assert "Done: 3 of 3 acted on" in text_of(operator, operation)


def test_what_moved_meanwhile_is_refused_by_name_and_the_others_go_on(operator):
    stays, moves = failed_saga(), failed_saga()
    operation = draw_up(operator, SAGAS, "compensate", [stays, moves])
    act(operator, "saga", moves.pk, "resolve", outcome="completed")
    act(operator, "batch", operation.pk, "start")

    run_all(operation)

    assert outcomes(operation) == {str(stays.pk): "done", str(moves.pk): "refused"}
    assert "E11921" in text_of(operator, operation, status="refused")


def test_all_of_a_filter_are_chosen_not_only_those_of_the_page(operator):
    letters = dead_letters(60)

    operation = draw_up(operator, LETTERS, "discard", letters[:1], select_across="1")
    act(operator, "batch", operation.pk, "start", reason="a test run")
    while BatchOperation.objects.get(pk=operation.pk).status == "running":
        run_all(operation)

    assert operation.total == 60
    assert DeadLetter.objects.filter(status="discarded", reason="a test run").count() == 60
    assert "from=50" in text_of(operator, operation)


def test_an_operation_takes_a_thousand_at_most(operator):
    chosen = [(str(number), "x", "open") for number in range(operations.MAX_ITEMS + 1)]

    made = operations.draw_up(CHOICES["dead-letter", "replay"], chosen, by="ann")

    assert (made.total, made.was_cut) == (1_000, True)
    assert "these are the first thousand" in text_of(operator, made)


def test_a_paused_one_waits_and_a_stopped_one_leaves_the_rest_alone(operator):
    letters = dead_letters(3)
    operation = draw_up(operator, LETTERS, "replay", letters)
    act(operator, "batch", operation.pk, "start")
    act(operator, "batch", operation.pk, "pause")
    run_all(operation)
    assert set(outcomes(operation).values()) == {"waiting"}

    act(operator, "batch", operation.pk, "resume")
    act(operator, "batch", operation.pk, "stop")
    run_all(operation)

    assert set(outcomes(operation).values()) == {"left"}
    assert DeadLetter.objects.filter(status="open").count() == 3
    assert "Stopped: 0 of 3 acted on" in text_of(operator, operation)


def test_who_drew_it_up_and_who_said_yes_are_not_taken_for_each_other(operator):
    operation = draw_up(operator, LETTERS, "replay", dead_letters(1))
    assert "UTC by ann" in text_of(operator, operation)

    act(person("hub operator", "bob"), "batch", operation.pk, "start")

    html = text_of(operator, operation)
    assert "UTC by bob" in html.partition("<dt>Started</dt>")[2].partition("</div>")[0]
    assert " by " not in html.partition("<dt>Drawn up</dt>")[2].partition("</div>")[0]


def test_an_item_whose_worker_died_in_the_middle_acts_once(operator):
    before, after = dead_letters(2)
    operation = draw_up(operator, LETTERS, "replay", [before, after])
    act(operator, "batch", operation.pk, "start")
    tokens = dict(BatchItem.objects.filter(operation=operation).values_list("subject_id", "token"))
    choice = CHOICES["dead-letter", "replay"]
    for letter in (before, after):  # the record was written, then the process ended: before it acted, or after
        wish = audit.Wish(
            token=tokens[str(letter.pk)], by="ann", action="Replay", subject="dead-letter", subject_id=str(letter.pk), reason="x"
        )
        with pytest.raises(KeyboardInterrupt):
            audit.carry_out(wish, _die, lambda pk=str(letter.pk): choice.subject.look(pk))
    DeadLetter.objects.filter(pk=after.pk).update(status="replayed")

    run_all(operation)

    assert set(outcomes(operation).values()) == {"done"}
    assert set(DeadLetter.objects.values_list("status", flat=True)) == {"replayed"}
    assert OperatorAction.objects.filter(subject="dead-letter").count() == 2


def _die():
    raise KeyboardInterrupt


def test_a_step_keeps_away_while_another_worker_is_at_it(operator):
    operation = draw_up(operator, LETTERS, "replay", dead_letters(1))
    act(operator, "batch", operation.pk, "start")
    BatchOperation.objects.filter(pk=operation.pk).update(lease_until=timezone.now() + timedelta(minutes=1))

    run_all(operation)
    assert (operations.sweep(), set(outcomes(operation).values())) == (0, {"waiting"})

    BatchOperation.objects.filter(pk=operation.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert operations.sweep() == 1


def test_who_may_not_do_it_to_one_may_not_do_it_to_many(operator):
    operation = draw_up(operator, LETTERS, "replay", dead_letters(1))
    viewer = person("hub viewer", "vera")

    refused = viewer.post(reverse(LETTERS), {"action": "replay", "_selected_action": ["1"]})

    assert BatchOperation.objects.count() == 1
    assert refused.status_code in (200, 302, 403)
    assert act(viewer, "batch", operation.pk, "start").status_code == 403


@pytest.mark.parametrize("loss", [lambda who: who.groups.clear(), lambda who: User.objects.filter(pk=who.pk).update(is_active=False)])
def test_who_loses_the_right_in_the_middle_acts_on_no_more(operator, monkeypatch, loss):
    monkeypatch.setattr(operations, "STEP_ITEMS", 1)
    first, second = dead_letters(2)
    operation = draw_up(operator, LETTERS, "discard", [first, second])
    act(operator, "batch", operation.pk, "start")
    run_all(operation)

    loss(User.objects.get(username="ann"))
    run_all(operation)

    letters = [DeadLetter.objects.get(pk=one.pk).status for one in (first, second)]
    assert sorted(letters) == ["discarded", "open"]
    refused = BatchItem.objects.get(operation=operation, status="refused")
    assert (refused.code, refused.message) == ("E11988", "E11988: ann may not do this any more")
    assert BatchOperation.objects.get(pk=operation.pk).status == "done"


def test_old_operations_and_forgotten_drafts_are_pruned(db):
    for status, age in (("done", operations.KEEP), ("draft", operations.KEEP_DRAFT)):
        for factor in (1.01, 0.99):
            at = timezone.now() - age * factor
            made = operations.draw_up(CHOICES["dead-letter", "replay"], [("1", "x", "open")], by="ann")
            finished = at if status == "done" else None
            BatchOperation.objects.filter(pk=made.pk).update(created_at=at, status=status, reason="x", finished_at=finished)

    assert (operations.prune(), BatchOperation.objects.count(), BatchItem.objects.count()) == (2, 2, 2)


@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_loses_nothing_and_doubles_nothing(start_worker):
    person("hub operator")
    letters = dead_letters(60)
    chosen = [(str(letter.pk), str(letter), letter.status) for letter in letters]
    operation = operations.draw_up(CHOICES["dead-letter", "discard"], chosen, by="ann")
    worker = start_worker(queues="hub.control", concurrency=1)
    operations.start(operation.pk, reason="a test run", by="ann")
    wait_until(lambda: DeadLetter.objects.filter(status="discarded").exists(), timeout_sec=40, what="the first of many")

    worker.kill()
    worker.start()
    BatchOperation.objects.filter(pk=operation.pk).update(lease_until=None)  # half a minute later
    operations.sweep()

    wait_until(lambda: BatchOperation.objects.get(pk=operation.pk).status == "done", timeout_sec=60, what="the operation to end")
    assert set(outcomes(operation).values()) == {"done"}
    assert OperatorAction.objects.filter(subject="dead-letter").count() == 60
    assert DeadLetter.objects.filter(status="discarded", reason="a test run").count() == 60


def test_an_id_that_is_none_is_not_found(operator):
    assert operator.get(reverse("admin:console_batchoperation_change", args=[uuid.uuid4()])).status_code == 404


def test_a_saga_that_was_going_is_cancelled_with_the_others(operator):
    going = saga()
    step_done(going, 0)

    operation = draw_up(operator, SAGAS, "cancel", [going])
    act(operator, "batch", operation.pk, "start")
    run_all(operation)

    assert SagaExecution.objects.get(pk=going.pk).status == "compensating"
