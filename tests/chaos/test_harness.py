"""Small versions of the long runs, each in processes of its own, and the proof that they would find something."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from hub.testing import databases
from tests.processes import ROOT

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]


def play(module, *arguments, tmp_path):
    """Run a scenario to its end and return its exit code and what it said."""
    command = [sys.executable, "-m", f"tests.chaos.{module}", *arguments, "--dir", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said, _ = process.communicate(timeout=220)
        except BaseException:
            process.send_signal(signal.SIGTERM)
            raise
    return process.returncode, said


def test_every_saga_survives_a_kill_at_any_of_these_points(tmp_path):
    code, said = play("kill_matrix", "--small", tmp_path=tmp_path)

    assert code == 0, said
    assert "stuck 0 · lied 0 · doubled 0 · out of order 0" in said
    assert "checker: valid True" in said


def test_every_kind_of_step_survives_a_kill_at_some_points(tmp_path):
    code, said = play("kill_matrix", "--small", "--kinds", "all", "--upkeep", tmp_path=tmp_path)

    assert code == 0, said
    assert "stuck 0 · lied 0 · doubled 0 · out of order 0" in said
    assert "checker: valid True" in said
    assert re.search(r"^prune.after_commit .* ok$", said, re.MULTILINE), said


def test_money_adds_up_though_every_reply_to_a_payment_is_lost(tmp_path):
    code, said = play("lost_replies", "--sagas", "40", tmp_path=tmp_path)

    assert code == 0, said
    assert "wrong 0" in said


def test_every_saga_survives_a_storm_of_faults(tmp_path):
    code, said = play("mixed", "--small", "--sagas", "30", "--faults", "8", "--every-sec", "1.5", tmp_path=tmp_path)

    assert code == 0, said
    assert re.search(r"^faults 8: ", said, re.MULTILINE), said
    assert "stuck 0 · lied 0 · doubled 0 · out of order 0" in said


@pytest.mark.skipif(not databases.is_installed("postgres"), reason="no Postgres server is installed")
def test_workers_use_a_postgres_again_that_was_gone(tmp_path):
    fault = ("--faults", "1", "--only", "database gone")
    code, said = play("mixed", "--database", "postgres", "--small", "--sagas", "8", *fault, "--every-sec", "5", tmp_path=tmp_path)

    assert code == 0, said


def test_the_same_storm_breaks_a_plain_chain_with_error_callbacks(tmp_path):
    kinds = "worker killed,redis restarted empty,BRPOP answer lost"
    code, said = play("control", "--sagas", "15", "--faults", "3", "--only", kinds, "--quiet-sec", "5", tmp_path=tmp_path)

    assert code == 0, said
    assert re.search(r"15 sagas · stuck [1-9]", said), said


def test_a_saga_that_is_right_survives_the_tool(saga_kill_matrix):
    report = saga_kill_matrix("tests.chaos.planted:right", points=["call.after", "saga.after_commit"])

    assert report.ok, report
    assert len(report.cases) == 18


def test_a_saga_with_a_pivot_is_undone_up_to_it(saga_kill_matrix):
    report = saga_kill_matrix("tests.chaos.planted:with_a_pivot", points=["call.after"])

    assert report.ok, report
    assert {case.status for case in report.cases} == {"completed", "compensated"}


def test_a_saga_that_waits_for_the_world_is_given_what_it_waits_for(saga_kill_matrix):
    given = {"signals": {"approved": {"by": "ann"}}, "events": {"shop.paid": {"sum": 7}}}

    report = saga_kill_matrix("tests.chaos.planted:waiting", points=["saga.after_commit"], **given)

    assert report.ok, report
    assert {case.status for case in report.cases} == {"completed", "compensated"}
    assert all((case.context["by"], case.context["sum"]) == ("ann", 7) for case in report.cases if case.status == "completed")


@pytest.mark.parametrize(
    ("saga", "end_sec", "complaint"),
    [
        ("waiting_in_vain", 8, "step approve of shop_waiting_in_vain waits in vain: signal:approved did not come"),
        ("waiting_long", 8, "end of shop_waiting_long without any kill did not come true within 8 s; it waits for signal:approved"),
        (
            "never_past_its_second",
            30,
            "shop_broken ends compensated though nobody dies: charge ended it with E11440 ValueError: no such shelf",
        ),
        ("no_service", 30, "shop_no_service ends compensated though nobody dies: pay ended it with E11020"),
    ],
)
def test_a_saga_that_does_not_come_to_its_end_by_itself_is_not_called_right(saga_kill_matrix, saga, end_sec, complaint):
    with pytest.raises(RuntimeError, match=complaint):
        saga_kill_matrix(f"tests.chaos.planted:{saga}", points=["saga.after_commit"], end_sec=end_sec)


@pytest.mark.parametrize("saga", ["tests.chaos.planted:Any"])
def test_a_saga_that_is_not_there_is_one_line(tmp_path, saga):
    command = [sys.executable, "-m", "hub.testing", saga, "--dir", str(tmp_path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)

    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith(f"{saga} cannot be loaded")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("saga", "complaint"),
    [("undo_not_idempotent", "reserve was undone 2 times under"), ("no_key", "charge was done 2 times under")],
)
def test_the_tool_finds_a_planted_bug(saga_kill_matrix, saga, complaint):
    report = saga_kill_matrix(f"tests.chaos.planted:{saga}", points=["call.after"])

    assert report.count("doubled") == 1
    assert complaint in str(report)


def test_the_tool_asks_the_users_own_world_too(saga_kill_matrix):
    report = saga_kill_matrix("tests.chaos.planted:right", points=["accept.after_commit"], check=lambda case: ["the books do not balance"])

    assert not report.ok
    assert report.count("broken") == 1
