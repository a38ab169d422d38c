"""`hub.testing` says right of what is right, finds what is planted, and says why it cannot judge."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import pytest

from tests.processes import ROOT

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]


def test_a_saga_that_is_right_survives_the_tool(saga_kill_matrix):
    points = ("call.after", "saga.after_commit")

    report = saga_kill_matrix("tests.chaos.planted:right", points=points)

    assert report.ok, report
    killed_at = {(case.passage.point, case.passage.direction, case.passage.step) for case in report.cases if case.fell}
    assert killed_at == set(product(points, ("do", "undo"), ("reserve", "charge", "ship")))


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
    ("asked", "complaint"),
    [(("--point", "cal1"), "no crash point begins with 'cal1'"), (("--context", "[1]"), "a context is a JSON object, not '[1]'")],
)
def test_a_misspelt_wish_is_said_before_anything_starts(tmp_path, asked, complaint):
    command = [sys.executable, "-m", "hub.testing", "tests.chaos.planted:right", "--dir", str(tmp_path), *asked]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)

    assert (done.returncode, complaint in done.stderr.splitlines()[-1]) == (2, True), done.stderr
    assert not list(tmp_path.iterdir())


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
