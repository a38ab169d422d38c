"""A worker that is asked to end while one of its processes was just given a task."""

import os
import signal
from pathlib import Path

import pytest

from hub.celery import CONTROL, PUBLIC, app
from hub.listening import BEGIN_SEC
from hub.redis_client import client
from hub.sending import submit_many
from tests.processes import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]
TASK = "hub.control.prune_operator_actions"


@pytest.fixture(params=[CONTROL, PUBLIC])
def worker(start_worker, request):
    """A worker with a task written to its only process, which is stopped and cannot begin it."""
    client().delete(request.param)
    worker = start_worker(queues=request.param, concurrency=1)
    worker.queue = request.param
    worker.process_pid = int(Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text())
    os.kill(worker.process_pid, signal.SIGSTOP)
    submit_many(TASK, [{}], queue=worker.queue)
    wait_until(lambda: f"{TASK}[" in worker.log(), what="the message fetched")
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
    assert (done(worker), client().llen(worker.queue)) == (1, 0)


def test_a_process_that_begins_after_its_message_went_back_holds_nobody_up(worker):
    worker.signal(signal.SIGTERM)
    wait_until(lambda: not app.control.ping(destination=[worker.node], timeout=BEGIN_SEC + 1), what="the worker deaf for so long")
    os.kill(worker.process_pid, signal.SIGCONT)

    assert worker.stop() == 0  # within 15 s; a process that is not heard stays for 30
    assert (done(worker), client().llen(worker.queue)) == (1, 1)


def test_a_process_that_is_gone_when_its_worker_ends_leaves_its_message(worker):
    os.kill(worker.process_pid, signal.SIGKILL)
    worker.signal(signal.SIGTERM)

    assert worker.stop() == 0
    assert (done(worker), client().llen(worker.queue)) == (0, 1)
