"""Beat goes by a schedule that stands in the database, whatever the database was like when beat began."""

from __future__ import annotations

import pytest
from celery import beat
from django.db import DatabaseError, connection
from django_celery_beat.models import PeriodicTask

from hub.celery import app

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def read_only():
    """A database that takes no change, as a standby does during a failover, until it is told to."""
    turned = {"sqlite": "PRAGMA query_only = {}", "postgresql": "SET default_transaction_read_only = {}"}[connection.vendor]

    def turn(how):
        with connection.cursor() as cursor:
            cursor.execute(turned.format(how))

    turn("on")
    yield turn
    turn("off")


def begun():
    """Return what a beat that begins now goes by."""
    return beat.Service(app, scheduler_cls=app.conf.beat_scheduler).get_scheduler()


def test_beat_does_not_run_without_what_it_could_not_write(read_only):
    with pytest.raises(DatabaseError):
        begun()

    read_only("off")

    assert set(app.conf.beat_schedule) <= set(begun().schedule)


def test_what_an_operator_switched_off_stays_off():
    begun()
    PeriodicTask.objects.filter(name="hub: sweep sagas").update(enabled=False)

    assert "hub: sweep sagas" not in begun().schedule
