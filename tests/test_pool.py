"""Processes of a worker: when it ends, when they do, and what becomes of the task that one was just given."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from kombu.asynchronous import Hub, set_event_loop

from hub.celery import CONTROL, PUBLIC
from hub.pool import BEGIN_SEC, Pool
from hub.redis_client import client
from hub.sending import submit_many
from tests.processes import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]
TASK = "hub.control.prune_operator_actions"


@pytest.fixture(params=[CONTROL, PUBLIC])
def worker(start_worker, request):
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


@pytest.fixture
def run_pool():
    """Return what makes a pool of processes in this one, and what turns its loop until a condition holds."""
    made = []

    def make(processes=1, **options):
        hub = set_event_loop(Hub())
        pool = Pool(processes, threads=False, **options)
        made.append(pool)
        pool.register_with_event_loop(hub)
        hub.timer.clear()  # no second look after five seconds

        def turn_until(condition):
            loop = hub.create_loop()
            hub.call_repeatedly(0.05, int)  # so that it turns when nothing happens
            wait_until(lambda: next(loop) or condition(), what="what the pool was to do")

        return pool, turn_until

    yield make
    for pool in made:
        pool.terminate()
    set_event_loop(None)


def test_a_process_that_did_its_last_task_is_given_no_other(run_pool):
    pool, turn_until = run_pool(maxtasksperchild=1)
    put_back, again = [], pool._put_back
    pool._put_back = lambda job: put_back.append(job) or again(job)
    done = []

    for _ in range(2):
        pool.apply_async(os.getpid, callback=done.append)
    turn_until(lambda: len(done) == 2)

    assert len(set(done)) == 2
    assert put_back == []


def test_processes_are_not_replaced_all_at_once(run_pool):
    pool, turn_until = run_pool(2, maxtasksperchild=4)
    first = {process.pid for process in pool._pool}
    done = []

    for _ in range(30):
        pool.apply_async(os.getpid, callback=done.append)
    turn_until(lambda: len(done) == 30)

    often = Counter(done)
    assert sorted(often[pid] for pid in first) == [2, 4]
    assert {often[pid] for pid in often.keys() - first - {process.pid for process in pool._pool}} == {4}


def test_a_process_that_ends_slowly_is_replaced_all_the_same(run_pool):
    pool, turn_until = run_pool()
    (before,) = pool._pool

    pool.apply_async(close_all_and_end, (0.25,))
    turn_until(lambda: before not in pool._pool and len(pool._pool) == 1)

    assert before.exitcode == 0


def test_a_process_that_closed_its_pipe_and_stays_stops_nobody(run_pool):
    pool, turn_until = run_pool()
    (process,) = pool._pool

    pool.apply_async(close_all_and_end, (30.0,))
    turn_until(lambda: process._sentinel_poll is None)

    assert process.exitcode is None
    os.kill(process.pid, signal.SIGKILL)


def close_all_and_end(after_sec):
    """Close the pipe that tells of this process's end some time before it."""
    os.closerange(3, 1_000)
    time.sleep(after_sec)
    os._exit(0)
