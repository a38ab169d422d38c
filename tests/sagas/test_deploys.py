"""Runs in flight while code changes: said before the deploy, parked with the reason after it, sent on when the name is back."""

from __future__ import annotations

import dataclasses
import json

import pytest
from django.core.management import CommandError, call_command

from hub.errors import ErrorCode
from sagas import accept, calls, catalog, claims, engine, recovery, services, store, versions
from sagas.models import SagaExecution, SagaStepExecution
from sagas.spec import Call, digest
from sagas.states import Direction
from tests.processes import wait_until
from tests.sagas import ledger
from tests.sagas.driven import accepted, children_of, drive, turn
from tests.sagas.test_engine import ended, run

pytestmark = pytest.mark.django_db(transaction=True)

RUNS = 50


def changed(spec, **step_changes):
    steps = (dataclasses.replace(spec.steps[0], **step_changes), *spec.steps[1:])
    new = dataclasses.replace(spec, steps=steps)
    return dataclasses.replace(new, version=digest(new), hash=digest(new))


def test_a_deploy_whose_sagas_cannot_be_loaded_does_not_pass_while_nothing_is_in_flight(settings):
    settings.HUB = settings.HUB.model_copy(update={"saga_modules": "no.such"})
    catalog.catalog.cache_clear()

    try:
        with pytest.raises(CommandError, match=r"^E11931: saga module 'no.such' cannot be imported"):
            call_command("saga", "check")
    finally:
        catalog.catalog.cache_clear()


def test_a_deploy_that_strands_nobody_passes(capsys):
    accept.accept(catalog.find("three_steps"), accept.Request())

    call_command("saga", "check")

    assert "no saga in flight would be stranded" in capsys.readouterr().out
    call_command("saga", "check", "--json")
    assert json.loads(capsys.readouterr().out) == []


def test_fifty_runs_on_a_task_that_was_renamed_are_named_and_the_exit_code_says_so(capsys):
    renamed = changed(catalog.find("with_tools"), do=Call(kind="task", target="tools.old_name", where="tools"))
    ids = [str(accept.accept(renamed, accept.Request())[0].pk) for _ in range(50)]

    with pytest.raises(CommandError, match="50 sagas in flight would park"):
        call_command("saga", "check")

    said = capsys.readouterr().out
    assert "no definition of this code names its task tools.old_name on tools any more" in said
    assert all(execution_id in said for execution_id in ids)


def test_functions_of_a_version_that_is_gone_are_named(capsys):
    accept.accept(changed(catalog.find("three_steps"), timeout_sec=7.0), accept.Request())

    with pytest.raises(CommandError, match="1 sagas in flight would park"):
        call_command("saga", "check", "--json")

    assert "which this code does not define" in capsys.readouterr().out


def test_a_child_that_the_code_does_not_define_any_more_is_named(capsys):
    accept.accept(changed(catalog.find("outer"), do=Call(kind="saga", target="renamed")), accept.Request())

    with pytest.raises(CommandError, match="1 sagas in flight would park"):
        call_command("saga", "check")

    assert "no definition of this code is its child saga renamed" in capsys.readouterr().out


@pytest.mark.usefixtures("no_worker")
def test_completed_children_are_named_while_a_run_above_them_may_have_them_undone(capsys):
    parent = accepted("outer")
    turn(parent), turn(parent)
    [child] = children_of(parent)
    assert drive(child)["status"] == "completed"
    of_yesterday = versions.id_of(changed(catalog.find("inner"), timeout_sec=7.0))
    grandchild = accepted("three_steps")
    SagaExecution.objects.filter(pk=grandchild).update(parent=child, status="completed", definition=of_yesterday)

    with pytest.raises(CommandError, match="1 sagas in flight would park"):
        call_command("saga", "check")
    assert grandchild in capsys.readouterr().out

    SagaExecution.objects.filter(pk=parent).update(status="completed")
    call_command("saga", "check")


ASKED_THE_BANK = Call(kind="function", target="tests.sagas.saga_samples:asked_the_bank")


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize(
    "of_yesterday",
    [{"timeout_sec": 7.0}, {"verify": ASKED_THE_BANK, "do": Call(kind="http", target="POST /pay", where="L77")}],
    ids=["another version", "a function that is gone"],
)
def test_a_step_in_doubt_is_left_to_a_worker_that_holds_its_verify(of_yesterday):
    execution_id = accepted(changed(catalog.find("verified_task"), **of_yesterday))
    attempt = claims.claim(store.load(execution_id), 0, Direction.DO)
    engine.record(attempt, calls.Ended(outcome="unknown", error=calls.as_error(ErrorCode.STEP_OUTCOME_UNKNOWN, "no answer")))
    SagaStepExecution.objects.update(due_at=None)

    turn(execution_id)

    found = services.status(execution_id)
    assert (found["status"], found["blocked"][:6]) == ("waiting", "E11447")
    assert found["steps"][0]["attempts"] == 1
    assert ledger.effects(execution_id) == []


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize("saga", ["three_steps", "with_tools"])
def test_what_another_secret_key_sealed_is_given_to_no_step(saga, settings):
    """It would take the seal for the password. The run goes on where the key is the old one."""
    execution_id, key = accepted(saga, password="open sesame"), settings.SECRET_KEY
    settings.SECRET_KEY = "the key of a machine that was set up by itself"
    settings.HUB = settings.HUB.model_copy(update={"saga_version_wait_sec": 0})

    turn(execution_id)

    found = services.status(execution_id)
    assert (found["status"], found["blocked"][:6]) == ("needs_operator", "E11448")
    assert "HUB_SECRET_KEY" in found["blocked"]
    assert ledger.effects(execution_id) == []
    assert recovery.resume_parked() == 0

    settings.SECRET_KEY = key
    assert "E11448" not in str(engine.hindrance(store.load(execution_id)))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_runs_whose_task_was_renamed_park_with_its_name_and_go_on_when_it_is_back(worker, sweeper, layer_worker):
    new = layer_worker("tests.sagas.layer_new", "tools")
    ids = [services.start("with_tools", {})["execution_id"] for _ in range(RUNS)]

    for execution_id in ids:
        found = ended(execution_id, timeout_sec=100)
        assert (found["status"], found["error"]["code"]) == ("needs_operator", "E11431")
        assert "knows the task 'tools.reserve'" in found["error"]["message"]

    new.kill()
    layer_worker("tests.sagas.layer_old", "tools")

    def all_completed():
        return SagaExecution.objects.filter(status="completed").count() == len(ids)

    wait_until(all_completed, timeout_sec=150, what="the parked runs to go on")


def test_a_layers_task_is_a_step_that_is_done_and_undone_in_its_own_queue(worker, sweeper, layer_worker):
    layer_worker("tests.sagas.layer_old", "tools")

    good = run("with_tools", timeout_sec=40)
    bad = run("with_tools", timeout_sec=40, b="refuse")

    assert good["status"] == "completed"
    assert good["context"]["tools"] == f"saga:{good['execution_id']}:tools:do"
    assert (bad["status"], bad["steps"][1]["status"]) == ("compensated", "compensated")
