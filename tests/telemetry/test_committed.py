"""Counts and spans that go with a transaction: with it or not at all, and into the metrics once."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from hub.redis_client import client
from hub.telemetry import committed, metric_store, tracing
from hub.telemetry.models import CommittedCount, Span
from hub.telemetry.values import Metric
from tests.processes import hub_environment

pytestmark = pytest.mark.django_db(transaction=True)
NAME = "hub_sold_total"
SOLD = [Metric(NAME, "counter", 1, {"shop": "a"}), Metric("hub_sold_seconds", "histogram", 0.02, {"shop": "a"})]


@pytest.fixture(autouse=True)
def _empty_redis():
    client().flushdb()


def value(name=NAME):
    return sum(one.value for one in metric_store.read([name])[name])


def book_with_span():
    with tracing.collected() as spans, tracing.span("sale", traceparent=""):
        pass
    committed.book(SOLD, spans=spans)


def test_what_is_committed_is_counted_once_with_its_span():
    with transaction.atomic():
        book_with_span()
    committed.book(SOLD)

    assert committed.move() == 2
    assert committed.move() == 0

    [histogram] = metric_store.read(["hub_sold_seconds"])["hub_sold_seconds"]
    assert (value(), histogram.count, histogram.buckets) == (2, 2, {2: 2})
    assert histogram.exemplars[2] == Span.objects.get(name="sale").trace_id
    assert not CommittedCount.objects.exists()


def test_what_is_rolled_back_is_neither_counted_nor_traced():
    with transaction.atomic():
        book_with_span()
        transaction.set_rollback(True)
    tracing.flush()

    assert committed.move() == 0
    assert (value(), Span.objects.count()) == (0, 0)


def test_a_batch_is_known_for_a_day_while_its_rows_are_there_and_not_for_long_after():
    committed.book(SOLD)
    batch = committed._claim(datetime.now(UTC))
    metric_store.add(batch, 1, [])  # and here the database goes away
    [mark] = client().keys("hub:metrics:sender:*")
    assert client().ttl(mark) > 80_000

    committed._finish(batch)

    assert (value(), CommittedCount.objects.count()) == (0, 0), "it was added already"
    assert client().ttl(mark) <= committed.MARK_TTL_SEC


def test_the_next_mover_takes_what_a_dead_one_claimed_and_adds_it_once():
    committed.book(SOLD)
    batch = committed._claim(datetime.now(UTC))
    rows = list(CommittedCount.objects.values())
    committed._finish(batch)
    CommittedCount.objects.bulk_create(CommittedCount(**row) for row in rows)  # killed between adding and deleting

    assert committed.move() == 0  # somebody may still be at it
    CommittedCount.objects.update(claimed_at=datetime.now(UTC) - 2 * committed.ABANDONED)
    assert committed.move() == 1

    assert value() == 1
    assert not CommittedCount.objects.exists()


def test_of_two_movers_one_takes_over():
    committed.book(SOLD)
    committed._claim(datetime.now(UTC))
    later = datetime.now(UTC) + committed.ABANDONED + timedelta(seconds=1)

    assert len(committed._abandoned(later)) == 1
    assert committed._abandoned(later) == []


def test_a_process_that_is_killed_after_its_commit_has_counted():
    script = (
        "from hub.setup import ensure_django; ensure_django()\n"
        "import os, signal\n"
        "from hub.telemetry import committed, metrics\n"
        "from hub.telemetry.values import Metric\n"
        f"committed.book([Metric({NAME!r}, 'counter', 1)])\n"
        "metrics.increment('hub_remembered_total')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = hub_environment({"HUB_TELEMETRY_IN_BACKGROUND": "false"})

    assert subprocess.run([sys.executable, "-c", script], env=env, timeout=60, check=False).returncode == -9
    committed.move()

    assert (value(), value("hub_remembered_total")) == (1, 0)


def test_while_redis_is_away_counts_stay_booked_and_are_moved_later(monkeypatch):
    committed.book(SOLD)

    def away(*_, **__):
        raise committed.redis.ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(metric_store, "add", away)
        assert not committed.move_if_possible()
    CommittedCount.objects.update(claimed_at=datetime.now(UTC) - 2 * committed.ABANDONED)

    assert committed.move_if_possible()
    assert value() == 1


def test_nothing_is_booked_where_telemetry_is_off(settings):
    settings.HUB = settings.HUB.model_copy(update={"telemetry_enabled": False})

    committed.book(SOLD)

    assert not CommittedCount.objects.exists()
