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
