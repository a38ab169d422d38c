"""The supervisor keeps real processes running, and leaves none behind."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hub.console import supervisor as supervising
from hub.console.processes import ProcessSpec
from hub.console.supervisor import Supervisor
from tests.processes import ROOT, wait_until


@pytest.fixture
def said():
    return []


@pytest.fixture
def changes():
    return []


@pytest.fixture
def supervisor(tmp_path, said, changes):
    made = Supervisor(log_dir=tmp_path / "log", directory=tmp_path, say=said.append, on_change=lambda: changes.append(1))
    yield made
    made.stop_all(at_once=lambda: True)


def shell(script, *, name="one", stage=0, **more):
    return ProcessSpec(name=name, command=("sh", "-c", script), stage=stage, **more)


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def tick_until(supervisor, condition, what):
    def ticked():
        supervisor.tick()
        return condition()

    return wait_until(ticked, what=what)


def number_in(path: Path):
    return wait_until(lambda: path.exists() and path.read_text().strip(), what=f"{path.name} written")


def test_a_killed_process_is_started_again_and_that_is_said(supervisor, said, changes):
    supervisor.start(shell("exec sleep 1000"))
    first = supervisor.pids()["one"]

    os.kill(first, signal.SIGKILL)

    tick_until(supervisor, lambda: supervisor.pids().get("one", first) != first, "a new process")
    assert said[0].startswith("one ended with signal SIGKILL; starts again in 0.")
    assert said[1] == f"one started again (process {supervisor.pids()['one']})"
    assert len(changes) == 3


def test_between_death_and_restart_there_is_no_process_id(supervisor, said):
    supervisor.start(shell("exit 3"))

    tick_until(supervisor, lambda: said, "the death noted")

    assert supervisor.pids() == {}
    assert "exit code 3" in said[0]


def test_each_death_waits_longer(supervisor, said):
    supervisor.start(shell("exit 1"))

    tick_until(supervisor, lambda: supervisor.deaths("one") == 3, "three deaths")

    delays = [float(line.split("again in ")[1].split(" s")[0]) for line in said if "ended" in line]
    assert 0.2 <= delays[0] <= 0.5 <= delays[1] <= 1.0 <= delays[2] <= 2.0


def test_the_children_of_a_dead_process_are_not_left_running(supervisor, tmp_path):
    supervisor.start(shell("sleep 1000 & echo $! > child; wait"))
    child = int(number_in(tmp_path / "child"))

    os.kill(supervisor.pids()["one"], signal.SIGKILL)

    tick_until(supervisor, lambda: is_gone(child), "the grandchild gone")


def test_stopping_ends_grandchildren_too(supervisor, tmp_path):
    supervisor.start(shell("sleep 1000 & echo $! > child; wait"))
    child = int(number_in(tmp_path / "child"))

    supervisor.stop_all()

    wait_until(lambda: is_gone(child), what="the grandchild gone")


def test_what_others_need_is_stopped_last(supervisor, tmp_path):
    script = "trap 'echo {0} >> order; exit 0' TERM; touch {0}; while :; do sleep 0.05; done"
    for stage, name in enumerate(["redis", "worker"]):
        supervisor.start(shell(script.format(name), name=name, stage=stage))
    wait_until(lambda: (tmp_path / "redis").exists() and (tmp_path / "worker").exists(), what="both running")

    supervisor.stop_all()

    assert (tmp_path / "order").read_text().split() == ["worker", "redis"]


def test_a_process_that_does_not_stop_in_its_time_is_killed(supervisor, tmp_path):
    supervisor.start(shell("trap '' TERM; touch up; while :; do sleep 0.05; done", stop_timeout_sec=0.3))
    wait_until(lambda: (tmp_path / "up").exists(), what="running")
    pid = supervisor.pids()["one"]

    supervisor.stop_all()

    assert is_gone(pid)


def test_a_second_wish_to_stop_does_not_wait(supervisor, tmp_path):
    supervisor.start(shell("trap '' TERM; touch up; while :; do sleep 0.05; done", stop_timeout_sec=60))
    wait_until(lambda: (tmp_path / "up").exists(), what="running")
    started = time.monotonic()

    supervisor.stop_all(at_once=lambda: True)

    assert time.monotonic() - started < 5


def test_output_goes_to_a_fresh_file_and_the_last_one_is_kept(supervisor, tmp_path):
    log = supervisor.log_path("one")
    log.parent.mkdir()
    log.write_text("of the run before")

    supervisor.start(shell("echo hello; exec sleep 1000"))

    wait_until(lambda: log.read_text() == "hello\n", what="the output")
    assert Path(f"{log}.1").read_text() == "of the run before"


def test_a_log_that_grew_too_long_is_cut_while_the_process_goes_on(supervisor, tmp_path):
    size = supervising.LOG_LIMIT_BYTES + 1
    supervisor.start(shell(f"head -c {size} /dev/zero; while [ ! -e go ]; do sleep 0.05; done; echo later; exec sleep 1000"))
    log = supervisor.log_path("one")
    wait_until(lambda: log.stat().st_size == size, what="a long log")

    supervisor.tick()
    (tmp_path / "go").touch()

    wait_until(lambda: log.read_text() == "later\n", what="the log to go on")
    assert Path(f"{log}.1").stat().st_size == size


def test_a_log_that_cannot_be_kept_is_cut_all_the_same_and_that_is_said(supervisor, said, monkeypatch):
    monkeypatch.setattr(supervising, "LOG_LIMIT_BYTES", 1000)
    supervisor.start(shell("head -c 5000 /dev/zero; exec sleep 1000"))
    log = supervisor.log_path("one")
    wait_until(lambda: log.stat().st_size == 5000, what="a long log")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))  # as on a full disk
    try:
        supervisor.tick()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert log.stat().st_size == 0
    assert said == [f"{log} was cut and what it held is lost: File too large"]


def test_a_record_of_changes_that_cannot_be_written_ends_nothing(tmp_path, said):
    supervisor = Supervisor(
        log_dir=tmp_path / "log", directory=tmp_path, say=said.append, on_change=lambda: (tmp_path / "no" / "x").touch()
    )
    supervisor.start(shell("exit 3"))

    tick_until(supervisor, lambda: supervisor.deaths("one") == 2, "two deaths")

    assert "what runs now could not be written down: No such file or directory" in said
    supervisor.stop_all()


def test_processes_live_on_when_somebody_removes_their_logs(supervisor):
    supervisor.start(shell("exec sleep 1000"))
    first = supervisor.pids()["one"]
    shutil.rmtree(supervisor.log_path("one").parent)

    supervisor.tick()
    assert supervisor.pids() == {"one": first}

    os.kill(first, signal.SIGKILL)
    tick_until(supervisor, lambda: supervisor.pids().get("one", first) != first, "a new process")
    assert supervisor.log_path("one").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_processes_end_when_the_supervisor_is_killed(tmp_path):
    script = f"""
import sys, time
from pathlib import Path
from hub.console.processes import ProcessSpec
from hub.console.supervisor import Supervisor
one = Supervisor(log_dir=Path({str(tmp_path)!r}), directory=Path({str(tmp_path)!r}), say=print)
one.start(ProcessSpec(name="one", command=("sleep", "1000"), stage=0))
Path({str(tmp_path / "child")!r}).write_text(str(one.pids()["one"]))
time.sleep(1000)
"""
    owner = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    child = int(number_in(tmp_path / "child"))

    owner.kill()
    owner.wait()

    wait_until(lambda: is_gone(child), what="the child gone")
