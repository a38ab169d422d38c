"""A worker of threads takes the next message as soon as a thread is free, not when its loop happens to wake."""

import pytest

from hub.celery import CONTROL
from hub.redis_client import client
from hub.sending import submit_many
from tests.processes import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]
TASK = "hub.control.prune_operator_actions"
MANY = 200
"""Without being woken, a loop takes one a tenth of a second at best: twenty seconds for these."""


def take_off():
    submit_many(TASK, [{}] * MANY, queue=CONTROL)
    wait_until(lambda: not client().llen(CONTROL), timeout_sec=15, what=f"{MANY} messages taken off by one thread")


def test_one_thread_takes_message_after_message(start_worker):
    start_worker(queues=CONTROL, pool="threads", concurrency=1)

    take_off()


def test_it_still_does_after_the_connection_broke(start_worker):
    worker = start_worker(queues=CONTROL, pool="threads", concurrency=1)
    take_off()

    client().client_kill_filter(_type="normal", skipme=True)
    wait_until(lambda: "Connection to broker lost" in worker.log(), what="the worker to notice")

    take_off()
