"""The fixtures for real workers do what their docstrings promise."""

import pytest
from celery import Celery
from django.conf import settings

from tests.processes import wait_until


@pytest.mark.django_db(transaction=True)
def test_the_session_worker_serves_all_queues(worker):
    with Celery(broker=settings.REDIS_URL, set_as_current=False) as app:
        served = app.control.inspect([worker.node], timeout=2).active_queues()

    assert {queue["name"] for queue in served[worker.node]} == {"hub", "hub.sagas", "hub.events", "hub.control"}


@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_leaves_no_children_and_can_start_again(start_worker):
    import psutil

    own = start_worker(queues="hub.control", concurrency=1)
    children = psutil.Process(own.pid).children(recursive=True)
    assert children

    own.kill()

    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children), what="all children gone")
    own.start()
    assert own.is_alive()
