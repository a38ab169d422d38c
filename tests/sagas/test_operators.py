"""What an operator may do: send on, skip, undo, resolve, run again, and see what cancelling would do."""

from __future__ import annotations

import shlex
import uuid

import pytest
from django.core.management import CommandError, call_command

from hub.errors import IntegrationError
from hub.management.commands.saga import Command
from sagas import services
from sagas.models import SagaExecution, SagaTransition
from tests.processes import wait_until
from tests.sagas import ledger
from tests.sagas.test_engine import ended, run, statuses

pytestmark = pytest.mark.django_db(transaction=True)


def change_plan(execution_id, **plan):
    row = SagaExecution.objects.get(pk=execution_id)
    row.input["plan"] = plan
    SagaExecution.objects.filter(pk=execution_id).update(input=row.input)


def test_retry_goes_on_from_the_step_that_failed(worker, sweeper):
    found = run("no_undo", b="fail")
    change_plan(found["execution_id"])

    services.retry(found["execution_id"], reason="the disk is free again", actor="ann")

    assert ended(found["execution_id"])["status"] == "completed"
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "b.do"]
    reasons = SagaTransition.objects.filter(execution=found["execution_id"], actor="ann").values_list("reason", flat=True)
    assert set(reasons) == {"the disk is free again"}


def test_retry_of_an_incomplete_rollback_tries_the_failed_undo_again(worker, sweeper):
    found = run("patient", b_undo="fail", c="refuse")
    change_plan(found["execution_id"])

    services.retry(found["execution_id"], reason="the account is open again")

    assert ended(found["execution_id"])["status"] == "compensated"
    assert ledger.effects(found["execution_id"])[-2:] == ["a.undo", "b.undo"]


def test_the_shell_says_what_stands_what_was_undone_and_what_can_be_done(worker, sweeper, capsys):
    found = run("patient", b_undo="fail", c="refuse")

    call_command("saga", "show", found["execution_id"])

    said = capsys.readouterr().out
    assert "undone: Step a\n" in said
    assert "not undone: Step b\n" in said
    assert "Nothing happens until somebody decides." in said
    offered = [line.split()[2] for line in said.splitlines() if line.startswith("  manage.py saga ")]
    assert sorted(offered) == ["rerun", "resolve", "retry", "skip"]
    for verb in offered:
        with pytest.raises(CommandError, match="reason"):
            call_command("saga", verb, found["execution_id"])
    printed = [shlex.split(line.strip().split("   ")[0])[2:] for line in said.splitlines() if line.startswith("  manage.py saga ")]
    parsed = {options.verb: options for options in map(Command().create_parser("manage.py", "saga").parse_args, printed)}
    assert (parsed["skip"].step, parsed["rerun"].step, parsed["resolve"].outcome) == ("b", "a", "compensated")


def test_the_shell_prints_the_command_of_the_signal_that_is_waited_for(worker, sweeper, capsys):
    execution_id = services.start("approval", {"plan": {}})["execution_id"]
    wait_until(lambda: services.status(execution_id)["status"] == "waiting", what="the wait to begin")

    call_command("saga", "show", execution_id)

    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  manage.py saga signal ")]
    call_command(*shlex.split(line.split("   ")[0])[1:])
    assert ended(execution_id)["status"] == "completed"


def test_a_failed_saga_is_undone_on_demand(worker, sweeper):
    found = run("no_undo", b="fail")

    services.compensate(found["execution_id"], reason="give it back")

    assert ended(found["execution_id"])["status"] == "compensated"
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "a.undo"]


def test_a_step_that_was_done_by_hand_is_skipped(worker, sweeper):
    found = run("no_undo", b="fail")

    services.skip(found["execution_id"], "b", reason="done by hand")

    again = ended(found["execution_id"])
    assert (again["status"], statuses(again)["b"]) == ("completed", "skipped")


def test_an_undo_that_was_done_by_hand_completes_the_rollback(worker, sweeper):
    found = run("patient", b_undo="fail", c="refuse")

    services.skip(found["execution_id"], "b", reason="refunded in the bank's own screen")

    assert ended(found["execution_id"])["status"] == "compensated"


def test_resolving_keeps_what_is_known_of_the_steps(worker, sweeper):
    found = run("patient", b_undo="fail", c="refuse")

    services.resolve(found["execution_id"], "compensated", reason="settled by phone", actor="ann")

    again = services.status(found["execution_id"])
    assert (again["status"], statuses(again)["b"]) == ("compensated", "compensation_failed")
    assert SagaTransition.objects.filter(execution=found["execution_id"], reason="by hand: settled by phone", actor="ann").exists()


def test_rerun_from_a_step_is_a_new_run_with_an_edited_context(worker, sweeper):
    found = run("no_undo", b="fail")

    new = services.rerun(found["execution_id"], "b", reason="smaller image", changes={"plan": {}, "size": 1})

    again = ended(new["execution_id"])
    assert again["status"] == "completed"
    assert again["context"] == {"plan": {}, "size": 1, "a_done": 1, "b_done": 1}
    assert ledger.effects(new["execution_id"]) == ["b.do"]
    assert str(SagaExecution.objects.get(pk=new["execution_id"]).rerun_of_id) == found["execution_id"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [("[1]", "^E11902: changes must be an object"), ('{"a": ', "changes: not JSON"), ('{"a": NaN}', "NaN")],
)
def test_rerun_is_refused_with_changes_that_are_no_object(worker, sweeper, changes, says):
    found = run("no_undo", b="fail")
    runs = SagaExecution.objects.count()

    with pytest.raises(CommandError, match=says):
        call_command("saga", "rerun", found["execution_id"], "--step", "b", "--reason", "again", "--changes", changes)
    assert SagaExecution.objects.count() == runs


def test_rerun_is_refused_where_an_earlier_step_does_not_stand(worker, sweeper):
    found = run("three_steps", c="refuse")

    with pytest.raises(IntegrationError, match=r"^E11425: .*before 'c' not every step stands"):
        services.rerun(found["execution_id"], "c", reason="again")


def test_the_plan_says_what_cancelling_would_undo_and_how_sure_we_are(worker, sweeper):
    execution_id = services.start("three_steps", {"plan": {"b": "slow"}})["execution_id"]
    wait_until(lambda: "b.do" in ledger.effects(execution_id), what="step b to run")

    plan = services.undo_plan(execution_id)

    assert [(undo["step_id"], undo["certainty"], undo["ends_first"]) for undo in plan] == [
        ("b", "may have happened", True),
        ("a", "happened", False),
    ]
    ended(execution_id)
    with pytest.raises(IntegrationError, match=r"^E11425: a saga that completed is turned back by nobody"):
        services.undo_plan(execution_id)


def test_the_plan_of_an_incomplete_rollback_names_the_undo_that_failed(worker, sweeper):
    found = run("patient", b_undo="fail", c="refuse")

    plan = services.undo_plan(found["execution_id"])

    assert [(undo["step_id"], undo["certainty"]) for undo in plan] == [("b", "may have happened")]


def test_a_completed_child_has_a_plan_since_its_parent_may_turn_it_back(worker, sweeper):
    child, parent = run("three_steps"), run("three_steps")
    SagaExecution.objects.filter(pk=child["execution_id"]).update(parent=parent["execution_id"], parent_step=0)

    assert [undo["step_id"] for undo in services.undo_plan(child["execution_id"])] == ["c", "b", "a"]


def test_a_saga_past_its_pivot_has_no_plan(worker, sweeper):
    found = run("with_pivot", c="fail")

    with pytest.raises(IntegrationError, match=r"^E11425: a saga past its pivot"):
        services.undo_plan(found["execution_id"])


def test_the_command_says_when_nothing_would_be_undone(worker, sweeper, capsys):
    found = run("three_steps", a="refuse")

    call_command("saga", "plan", found["execution_id"])

    assert capsys.readouterr().out == "nothing would be undone\n"


@pytest.mark.parametrize("ask", [services.retry, services.compensate, lambda pk, **kw: services.resolve(pk, "compensated", **kw)])
def test_a_reason_is_required(ask, worker, sweeper):
    found = run("no_undo", b="fail")

    with pytest.raises(IntegrationError, match=r"^E11901: a reason is required"):
        ask(found["execution_id"], reason=" ")

    assert services.status(found["execution_id"])["status"] == "failed"


@pytest.mark.parametrize(
    "ask",
    [
        lambda pk: services.retry(pk, reason="x"),
        lambda pk: services.compensate(pk, reason="x"),
        lambda pk: services.skip(pk, "a", reason="x"),
        lambda pk: services.resolve(pk, "compensated", reason="x"),
        lambda pk: services.cancel(pk, reason="x"),
    ],
)
def test_a_completed_saga_is_left_alone(ask, worker, sweeper):
    found = run("three_steps")

    with pytest.raises(IntegrationError, match=r"^E11425: "):
        ask(found["execution_id"])


def test_the_shell_shows_and_acts(worker, sweeper, capsys):
    found = run("no_undo", b="fail")

    call_command("saga", "show", found["execution_id"])
    assert "cause: step_failed: E11440 ValueError: broken" in capsys.readouterr().out
    call_command("saga", "list", "--status", "failed")
    assert found["execution_id"] in capsys.readouterr().out
    call_command("saga", "compensate", found["execution_id"], "--reason", "from the shell")
    assert "is compensat" in capsys.readouterr().out

    ended(found["execution_id"])
    with pytest.raises(CommandError, match=r"^E11425: "):
        call_command("saga", "retry", found["execution_id"], "--reason", "again")


def test_the_shell_takes_the_beginning_of_an_id(worker, sweeper, capsys):
    found = run("no_undo", b="fail")

    call_command("saga", "show", found["execution_id"][:8])
    assert found["execution_id"] in capsys.readouterr().out
    call_command("saga", "resolve", found["execution_id"][:10], "--outcome", "completed", "--reason", "done by hand")
    assert f"{found['execution_id']} is completed" in capsys.readouterr().out


def test_the_shell_refuses_the_beginning_of_several_ids_and_of_none(worker, sweeper):
    found = run("no_undo", b="fail")
    row = SagaExecution.objects.get(pk=found["execution_id"])
    for tail in ("1", "2"):
        row.pk = uuid.UUID("01ab".ljust(31, "0") + tail)
        row.save(force_insert=True)

    with pytest.raises(CommandError, match=r"^E11908: several sagas begin with '01ab'"):
        call_command("saga", "show", "01ab")
    with pytest.raises(CommandError, match=r"^E11423: no saga begins with '01ac'"):
        call_command("saga", "show", "01ac")
