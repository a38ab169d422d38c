"""Children, verification, inline runs and pre-flight, on real workers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from hub.errors import IntegrationError
from sagas import children, retention, services, store
from sagas.models import SagaExecution, SagaTransition
from sagas.states import StepStatus
from tests.processes import wait_until
from tests.sagas import ledger
from tests.sagas.test_engine import ended, run, status_of, statuses

pytestmark = pytest.mark.django_db(transaction=True)


# --- children -------------------------------------------------------------------------------------------------------


def child_of(execution_id):
    return str(SagaExecution.objects.get(parent=execution_id).pk)


def test_a_child_runs_as_a_step_and_its_outputs_come_back(worker, sweeper):
    found = run("outer")

    assert found["status"] == "completed"
    assert found["context"]["y_done"] == 1
    assert ledger.effects(child_of(found["execution_id"])) == ["x.do", "y.do"]


def test_parent_and_child_name_each_other(worker, sweeper, capsys):
    found = run("outer")
    child = child_of(found["execution_id"])

    named = {"execution_id": child, "saga_name": "inner", "status": "completed", "step_id": "child"}
    assert (found["children"], found["parent"]) == ([named], None)
    assert services.status(child)["parent"] == found["execution_id"]
    call_command("saga", "show", found["execution_id"])
    call_command("saga", "show", child)
    said = capsys.readouterr().out
    assert f"child: {child}, inner, is completed\n" in said
    assert f"parent: {found['execution_id']}\n" in said


def test_a_run_names_the_one_that_it_runs_again(worker, sweeper):
    found = run("three_steps")

    again = services.rerun(found["execution_id"], "c", reason="once more")

    assert services.status(again["execution_id"])["rerun_of"] == found["execution_id"]


def test_a_child_step_may_be_called_as_a_secret_is(worker, sweeper):
    assert run("issuing")["status"] == "completed"


def test_a_failing_child_undoes_itself_and_then_its_parent_turns_back(worker, sweeper):
    found = run("outer", y="refuse")

    assert found["status"] == "compensated"
    child = child_of(found["execution_id"])
    assert (status_of(child), ledger.effects(child)) == ("compensated", ["x.do", "y.do", "x.undo"])
    assert ledger.effects(found["execution_id"]) == ["a.do", "a.undo"]


def test_a_completed_child_is_undone_as_a_whole_by_its_parent(worker, sweeper):
    found = run("outer", timeout_sec=40, b="refuse")

    assert found["status"] == "compensated"
    child = child_of(found["execution_id"])
    assert (status_of(child), ledger.effects(child)) == ("compensated", ["x.do", "y.do", "y.undo", "x.undo"])
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "a.undo"]


def test_a_child_whose_output_is_too_large_for_its_parent_is_undone(worker, sweeper):
    found = run("outer", timeout_sec=40, x="talk", y="talk")

    assert (found["status"], found["error"]["code"]) == ("compensated", "E11461")
    child = child_of(found["execution_id"])
    assert (status_of(child), ledger.effects(child)) == ("compensated", ["x.do", "y.do", "y.undo", "x.undo"])
    assert ledger.effects(found["execution_id"]) == ["a.do", "a.undo"]


def test_a_child_is_kept_for_as_long_as_its_parent(worker, sweeper):
    parent = run("outer")["execution_id"]
    child = child_of(parent)
    long_ago = timezone.now() - timedelta(days=settings.HUB.saga_retention_days + 1)
    SagaExecution.objects.update(finished_at=long_ago)
    SagaExecution.objects.filter(pk=parent).update(status="needs_operator")

    assert retention.prune() == 0

    SagaExecution.objects.filter(pk=parent).update(status="completed")
    assert retention.prune() == 2
    assert not SagaExecution.objects.filter(pk=child).exists()


def test_a_child_that_nobody_told_to_undo_itself_is_told_when_its_parent_looks(worker, sweeper):
    parent = store.load(run("outer")["execution_id"])
    undoing = replace(parent.run.steps[1], status=StepStatus.COMPENSATING)
    steps = (parent.run.steps[0], undoing, parent.run.steps[2])
    turned_back = replace(parent, run=replace(parent.run, steps=steps))

    assert children.look(turned_back, 1) is None

    child = child_of(parent.row.pk)
    assert ended(child)["status"] == "compensated"
    assert children.look(turned_back, 1).outcome == "ok"


def test_cancelling_the_parent_calls_the_child_off(worker, sweeper):
    execution_id = services.start("outer", {"plan": {"x": "slow"}})["execution_id"]
    wait_until(lambda: SagaExecution.objects.filter(parent=execution_id, started_count__gt=0).exists(), what="the child to start")

    services.cancel(execution_id, reason="changed our minds")

    assert ended(execution_id, 40)["status"] == "compensated"
    child = child_of(execution_id)
    assert ledger.effects(child) == ["x.do", "x.undo"]
    assert ledger.effects(execution_id) == ["a.do", "a.undo"]


# --- verification ---------------------------------------------------------------------------------------------------


def test_an_ambiguous_step_that_happened_is_not_done_again(worker, sweeper):
    found = run("verified", b="unknown", truth="happened")

    assert found["status"] == "completed"
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "b.verify"]


def test_an_ambiguous_step_that_did_not_happen_is_retried_and_not_undone(worker, sweeper):
    found = run("verified", b="unknown", truth="did_not")

    assert found["status"] == "compensated"
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "b.verify", "b.do", "b.verify", "a.undo"]
    assert statuses(found)["b"] == "failed"


def test_an_ambiguous_step_of_which_nothing_is_known_is_undone(worker, sweeper):
    found = run("verified", b="unknown", truth="unknown")

    assert found["status"] == "compensated"
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "b.verify", "b.do", "b.verify", "b.undo", "a.undo"]


# --- inline, pre-flight ---------------------------------------------------------------------------------------------


def test_an_inline_saga_runs_in_one_task_with_every_move_committed(worker, sweeper):
    found = run("in_one_task")

    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "c.do", "d.do"]
    assert len({line["pid"] for line in ledger.read(found["execution_id"])}) == 1
    moves = SagaTransition.objects.filter(execution=found["execution_id"], new="completed").exclude(step_id="")
    assert [move.step_id for move in moves] == ["a", "b", "c", "d"]


def test_an_inline_saga_is_undone_like_any_other(worker, sweeper):
    found = run("in_one_task", d="refuse")

    assert found["status"] == "compensated"
    assert ledger.effects(found["execution_id"])[4:] == ["c.undo", "b.undo", "a.undo"]


def test_pre_flight_names_everything_that_is_missing_and_starts_nothing(worker):
    with pytest.raises(IntegrationError, match=r"^E11435: ") as refused:
        services.start("checked", {})

    assert "no live worker reads queue 'nobody' (for the task 'l03.unheard_of')" in str(refused.value)
    assert "L99" in str(refused.value)
    assert not SagaExecution.objects.exists()
