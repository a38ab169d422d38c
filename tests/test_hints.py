"""A message that hints at a row is held in memory; every other one is noted in Redis until its task begins."""

import pytest

from hub.celery import CONTROL, EVENTS, PUBLIC, SAGAS, app
from hub.hints import HINTS
from hub.redis_client import client
from hub.sending import submit_many
from tests.processes import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]
TASK = "hub.control.prune_operator_actions"


@pytest.fixture(autouse=True)
def empty_queues():
    client().delete(*app.amqp.queues)
    yield
    client().delete(*app.amqp.queues)


@pytest.fixture
def fetch():
    """Return what fetches a queue's next messages and leaves them unacknowledged, until its connection is closed."""
    with app.connection_for_read() as connection:

        def of(queue, number=1):
            consumer = connection.SimpleQueue(app.amqp.queues[queue])
            return [consumer.get(timeout=5) for _ in range(number)]

        yield of


def noted():
    return client().hlen("unacked")


def test_the_queues_of_hints_are_all_but_the_public_one():
    assert {SAGAS, EVENTS, CONTROL} == HINTS == {queue.name for queue in app.conf.task_queues} - {PUBLIC}


@pytest.mark.parametrize(("queue", "expected"), [(PUBLIC, 1), *((queue, 0) for queue in sorted(HINTS))])
def test_only_what_a_user_sent_is_noted(fetch, queue, expected):
    before = noted()
    submit_many(TASK, [{}], queue=queue)

    (message,) = fetch(queue)

    assert noted() - before == expected
    message.ack()
    assert noted() == before


@pytest.mark.parametrize("queue", [CONTROL, PUBLIC])
def test_what_was_not_begun_is_back_in_its_queue_when_the_connection_ends(queue):
    ids = submit_many(TASK, [{}] * 3, queue=queue)
    with app.connection_for_read() as connection:
        consumer = connection.SimpleQueue(app.amqp.queues[queue])
        first, _, _ = (consumer.get(timeout=5) for _ in range(3))
        first.ack()

    with app.connection_for_read() as connection:
        consumer = connection.SimpleQueue(app.amqp.queues[queue])
        again = [consumer.get(timeout=5) for _ in range(2)]
        assert client().llen(queue) == 0
        for message in again:
            message.ack()

    assert {message.headers["id"] for message in again} == set(ids[1:])


@pytest.mark.parametrize("queue", [CONTROL, PUBLIC])
def test_what_is_given_back_stands_behind_the_others(fetch, queue):
    first, _ = submit_many(TASK, [{}] * 2, queue=queue)

    (message,) = fetch(queue)
    message.requeue()
    other, again = fetch(queue, 2)

    assert again.headers["id"] == first
    other.ack()
    again.ack()
    assert client().llen(queue) == 0


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_that_is_asked_to_end_loses_no_hint(start_worker, pool):
    worker = start_worker(queues=CONTROL, concurrency=2, pool=pool)
    submit_many(TASK, [{}] * 1_000, queue=CONTROL)
    wait_until(lambda: f"{TASK}[" in worker.log(), what="the first task")

    worker.stop()

    left = client().llen(CONTROL)
    assert left > 0, "the worker was done before it was asked"
    assert worker.log().count(" succeeded in ") + left == 1_000, worker.log()[-4_000:]
