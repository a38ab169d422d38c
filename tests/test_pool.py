"""Processes of a worker: when it ends, when they do, and what becomes of the task that one was just given."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hub.celery import CONTROL, PUBLIC
from hub.pool import BEGIN_SEC
from hub.redis_client import client
from hub.sending import submit_many
from tests.processes import ROOT, wait_until

TASK = "hub.control.prune_operator_actions"


@pytest.fixture(params=[CONTROL, PUBLIC])
def worker(no_worker, transactional_db, start_worker, request):
    """A worker that did one task, and whose only process was given a second one, but is stopped and cannot begin it."""
    client().delete(request.param)
    worker = start_worker(queues=request.param, concurrency=1)
    worker.queue = request.param
    submit_many(TASK, [{}], queue=worker.queue)
    wait_until(lambda: done(worker) == 1, what="the process ready")
    worker.process_pid = int(Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text())
    os.kill(worker.process_pid, signal.SIGSTOP)
    submit_many(TASK, [{}], queue=worker.queue)
    wait_until(lambda: worker.log().count(" received") == 2, what="the message fetched")
    worker.wait_until_ready()  # its loop turned once more, and wrote
    yield worker
    client().delete(worker.queue)


def done(worker):
    return worker.log().count(" succeeded in ")


def test_a_task_that_begins_while_its_worker_ends_is_not_given_back_too(worker):
    worker.signal(signal.SIGTERM)
    wait_until(lambda: "Warm shutdown" in worker.log(), what="the worker asked")
    os.kill(worker.process_pid, signal.SIGCONT)

    assert worker.stop() == 0
    assert (done(worker), client().llen(worker.queue)) == (2, 0)


def test_a_process_that_begins_after_its_message_went_back_holds_nobody_up(worker):
    worker.signal(signal.SIGTERM)
    wait_until(lambda: not worker.answers(timeout_sec=BEGIN_SEC + 1), what="the worker deaf for so long")
    os.kill(worker.process_pid, signal.SIGCONT)

    assert worker.stop() == 0  # within 15 s; a process that is not heard stays for 30
    assert (done(worker), client().llen(worker.queue)) == (2, 1)


def test_a_process_that_is_gone_when_its_worker_ends_leaves_its_message(worker):
    os.kill(worker.process_pid, signal.SIGKILL)
    worker.signal(signal.SIGTERM)

    assert worker.stop() == 0
    assert (done(worker), client().llen(worker.queue)) == (1, 1)


@pytest.mark.parametrize(
    "what",
    [
        "a_process_that_did_its_last_task_is_given_no_other",
        "processes_are_not_replaced_all_at_once",
        "a_process_that_ends_slowly_is_replaced_all_the_same",
        "a_process_that_closed_its_pipe_and_stays_stops_nobody",
    ],
)
def test_of_a_pool_alone(what):
    """In a process without threads: a fork of one that has some may wait for ever for a lock that one of them held."""
    command = [sys.executable, "-m", "tests.lone_pool", what]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{what}\n"), done.stderr
