"""`var/run.json` and the lock of `up`."""

import json
import subprocess
import sys

import pytest

from hub.console import run_record
from hub.errors import ErrorCode, IntegrationError


def test_the_record_is_replaced_whole_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "run.json"
    run_record.write(path, {"pid": 1, "processes": {}})

    run_record.write(path, {"pid": 2})

    assert json.loads(path.read_text()) == {"pid": 2}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_a_second_up_is_refused_and_told_where_the_first_is(tmp_path):
    record = {"pid": 4711, "web_url": "http://127.0.0.1:8000/"}
    held = run_record.take_lock(tmp_path, running=lambda: record)

    with held, pytest.raises(IntegrationError, match=r"process 4711, http://127.0.0.1:8000/") as refused:
        run_record.take_lock(tmp_path, running=lambda: record)

    assert refused.value.code is ErrorCode.CONFLICT


def test_the_lock_waits_for_the_last_process_of_a_killed_up(tmp_path):
    first = run_record.take_lock(tmp_path, running=dict)
    leftover = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.7)"], pass_fds=[first.fileno()])
    first.close()

    second = run_record.take_lock(tmp_path, running=dict)

    assert leftover.poll() is not None or leftover.wait(1) == 0
    second.close()


def test_leftovers_that_do_not_end_are_a_refusal(tmp_path, monkeypatch):
    monkeypatch.setattr(run_record, "LEFTOVERS_TIMEOUT_SEC", 0.3)
    with run_record.take_lock(tmp_path, running=dict), pytest.raises(IntegrationError, match="processes of an earlier run still live"):
        run_record.take_lock(tmp_path, running=dict)
