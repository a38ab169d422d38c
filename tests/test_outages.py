"""A database or a Redis that is away, locked, full or not migrated is one line with a code, wherever it is met."""

import io
import os
import pkgutil
import sqlite3
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.db import DataError, InterfaceError, OperationalError, ProgrammingError, connection
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import ConnectionError as RedisAway

import hub.management.commands
from hub.embedded import free_port
from hub.management.command import HubCommand
from hub.outages import outage
from sagas.tasks import start
from tests.processes import ROOT

COMMANDS = [name for _, name, _ in pkgutil.iter_modules(hub.management.commands.__path__)]


class Postgres(Exception):
    def __init__(self, sqlstate):
        self.sqlstate = sqlstate


def caused(error, sqlstate):
    error.__cause__ = Postgres(sqlstate)
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperationalError("could not connect to db.internal"), "E11940"),
        (InterfaceError("connection already closed"), "E11940"),
        (OperationalError("database is locked"), "E11943"),
        (OperationalError("no such table: sagas_sagaexecution"), "E11933"),
        (OperationalError("table registry_service has no column named zone"), "E11933"),
        (OperationalError("attempt to write a readonly database"), "E11942"),
        (OperationalError("database or disk is full"), "E11942"),
        (caused(OperationalError("canceling statement due to lock timeout"), "55P03"), "E11943"),
        (caused(ProgrammingError('relation "sagas_sagaexecution" does not exist'), "42P01"), "E11933"),
        (caused(OperationalError("no space left on device"), "53100"), "E11942"),
        (RedisAway("Connection refused"), "E11941"),
        (BrokerError("Connection refused"), "E11941"),
    ],
)
def test_an_outage_has_a_code_and_says_what_to_do(error, code):
    found = outage(error)

    assert found.code == code
    assert found.recovery_suggestion
    assert "db.internal" not in str(found)


@pytest.mark.parametrize("error", [ProgrammingError("syntax error"), DataError("integer out of range"), ValueError("is full")])
def test_a_fault_of_the_program_is_no_outage(error):
    assert outage(error) is None


@pytest.mark.django_db
def test_what_the_database_really_says_of_a_missing_table_is_known():
    with pytest.raises((OperationalError, ProgrammingError)) as raised, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM nowhere")

    assert outage(raised.value).code == "E11933"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_hub_knows_outages(name):
    assert isinstance(load_command_class("hub", name), HubCommand)


def run(*command, **env):
    own = os.environ | {"HUB_NO_BOOTSTRAP": "1", **env}
    return subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env=own, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("command", [("services", "show", "a\udcff"), ("events", "pause", "a\0")])
def test_an_argument_that_is_no_text_is_refused(command):
    with pytest.raises(CommandError, match=r"^E11902: 'a.* is no text$"):
        call_command(*command)


@pytest.mark.parametrize("command", [("saga", "list"), ("prune",), ("token", "list")])
def test_a_command_on_a_database_that_was_never_migrated(command, tmp_path):
    done = run(*command, DATABASE_URL=f"sqlite:///{tmp_path}/empty.sqlite3", HUB_VAR_DIR=str(tmp_path))

    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "E11933: database migrations are not applied (run: manage.py migrate)" in done.stderr


def test_a_command_whose_reader_has_read_enough_ends_quietly(tmp_path):
    """As `head` or a pager that was closed."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    nothing = {"DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3", "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    own = os.environ | {"HUB_NO_BOOTSTRAP": "1", "HUB_VAR_DIR": str(tmp_path), **nothing}

    with os.fdopen(write_end, "w") as unread:
        done = subprocess.run(
            [sys.executable, "manage.py", "doctor"], cwd=ROOT, env=own, stdout=unread, stderr=subprocess.PIPE, text=True, timeout=60
        )

    assert (done.returncode, "BrokenPipeError" in done.stderr) == (1, False), done.stderr


def test_a_command_whose_database_is_away(tmp_path):
    done = run("deadletters", "list", DATABASE_URL=f"postgres://hub:secret@127.0.0.1:{free_port()}/hub", HUB_VAR_DIR=str(tmp_path))

    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "E11940" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the lock is that of SQLite")
@pytest.mark.django_db(transaction=True)
def test_a_command_whose_database_somebody_else_holds():
    other = sqlite3.connect(connection.settings_dict["NAME"])
    other.execute("BEGIN EXCLUSIVE")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 50")
    try:
        with pytest.raises(CommandError, match=r"^E11943: database is locked"):
            call_command("token", "create", "me", "--scope", "read", stderr=io.StringIO())
    finally:
        other.rollback()
        other.close()
        connection.close()


@pytest.fixture
def read_only():
    """A database that takes no change."""
    turned = {"sqlite": "PRAGMA query_only = {}", "postgresql": "SET default_transaction_read_only = {}"}[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(turned.format("on"))
        yield
        cursor.execute(turned.format("off"))


@pytest.mark.django_db(transaction=True)
def test_a_layer_is_told_a_code_and_the_log_what_the_database_said(read_only, caplog):
    asked = {"saga_name": "three_steps", "context": {"plan": {}}}

    refused = start.apply(kwargs=asked).result

    assert str(refused).startswith("E11942: ")
    assert "read" in caplog.text
