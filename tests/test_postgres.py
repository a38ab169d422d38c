"""No statement on Postgres waits for its answer without end; all against the real server of the run."""

import os
import signal
import time
from contextlib import contextmanager

import pytest
from celery.exceptions import TimeoutError as NotYet
from django.db import OperationalError, connection

from hub.celery import app
from hub.console import health
from hub.errors import ErrorCode, IntegrationError
from hub.outages import outage
from tests.chaos.faultproxy import in_between
from tests.processes import hub_environment
from tests.sagas.driven import started

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.skipif("connection.vendor != 'postgresql'")]


@pytest.fixture
def other():
    """A connection of its own with a limit of a second."""
    made = connection.copy()
    made.settings_dict = made.settings_dict | {"OPTIONS": made.settings_dict["OPTIONS"] | {"answer_sec": 1.0}}
    made.ensure_connection()
    yield made
    made.close()


def ask(wrapper, sql):
    with wrapper.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


@contextmanager
def frozen(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_row_that_another_transaction_holds_is_not_waited_for_for_ever(other):
    ask(connection, "SELECT 1 FROM pg_advisory_lock(7)")
    began = time.monotonic()

    with pytest.raises(OperationalError) as raised:
        ask(other, "SELECT 1 FROM pg_advisory_lock(7)")

    assert 1 <= time.monotonic() - began < 4
    assert outage(raised.value).code == ErrorCode.DATABASE_BUSY
    assert ask(other, "SELECT 1") == 1, "the server cancelled it, so the connection stays good"
    assert ask(connection, "SELECT 1 FROM pg_advisory_unlock(7)") == 1
    assert ask(connection, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0, "nothing is left that waits"


def test_a_server_that_is_stopped_is_given_up_and_the_connection_with_it(other):
    with frozen(ask(other, "SELECT pg_backend_pid()")):
        began = time.monotonic()

        with pytest.raises(OperationalError, match="no answer within 1 s") as raised:
            ask(other, "SELECT 1")

        assert 1 <= time.monotonic() - began < 7
        assert outage(raised.value).code == ErrorCode.DATABASE_UNAVAILABLE
    assert other.connection.closed
    other.close()
    assert ask(other, "SELECT 1") == 1


def test_a_kept_connection_to_a_stopped_server_is_seen_to_be_none(other, monkeypatch):
    monkeypatch.setattr("hub.postgres.base.ALIVE_SEC", 0.5)
    other.connection.answer_sec = None

    with frozen(ask(other, "SELECT pg_backend_pid()")):
        assert not other.is_usable()

    assert other.connection.closed


def test_a_server_that_only_reads_is_an_outage_like_any_other(other):
    """As a standby does while another is made the primary: what waits for the database to be back has to wait for this too."""
    ask(other, "SELECT set_config('default_transaction_read_only', 'on', false)")

    with pytest.raises(OperationalError) as raised:
        other.cursor().execute("DELETE FROM sagas_sagaexecution")

    assert outage(raised.value).code == ErrorCode.DATABASE_FULL


def test_a_server_that_only_reads_is_not_ready():
    ask(connection, "SELECT set_config('default_transaction_read_only', 'on', false)")
    try:
        with pytest.raises(IntegrationError, match=r"^E11942: the database can only be read") as raised:
            health.database()
    finally:
        connection.close()

    assert "primary" in raised.value.recovery_suggestion


def test_a_migration_takes_as_long_as_it_takes(other):
    with other.schema_editor() as editor:
        editor.execute("SELECT pg_sleep(1.5)")

    assert other.connection.answer_sec == 1


def test_a_statement_within_the_limit_is_none_of_its_business(other):
    assert ask(other, "SELECT count(pg_sleep(0.3))") == 1


@pytest.fixture
def cut_off(no_worker, start_worker):
    """A worker that reaches the database through a proxy, cut off after its first task, and the proxy."""
    with in_between(int(connection.settings_dict["PORT"])) as (proxy, port):
        start_worker(
            concurrency=1,
            env={"DATABASE_URL": hub_environment()["DATABASE_URL"].replace(f":{connection.settings_dict['PORT']}/", f":{port}/")},
        )
        assert ask_worker().get(timeout=20)
        proxy.obey({"mode": "cut"})
        with pytest.raises(Exception, match="E11940"):
            ask_worker().get(timeout=20)  # by the connection that it had
        yield proxy


def ask_worker():
    return app.send_task("hub.sagas.status", kwargs={"execution_id": str(started("three_steps"))}, queue="hub")


def test_a_worker_that_is_cut_off_for_a_moment_fails_no_task_of_that_moment(cut_off):
    waiting = ask_worker()
    with pytest.raises(NotYet):
        waiting.get(timeout=1)

    cut_off.obey({"mode": "pass"})

    assert waiting.get(timeout=20)["status"] == "pending"


def test_a_worker_that_stays_cut_off_says_so_in_a_while(cut_off):
    with pytest.raises(Exception, match="E11940"):
        ask_worker().get(timeout=20)
