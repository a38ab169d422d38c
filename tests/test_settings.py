"""Which settings are refused, and what the database is asked for when a connection is made."""

import os
import subprocess
import sys

import pytest
from django.db import connection
from pydantic import ValidationError

from hub.conf import HubSettings
from tests.processes import ROOT


@pytest.mark.parametrize("value", ["inf", "1e400", "nan", "0", "soon"])
def test_a_time_that_never_comes_is_refused(monkeypatch, value):
    monkeypatch.setenv("HUB_SAGA_SWEEP_SEC", value)

    with pytest.raises(ValidationError, match="saga_sweep_sec"):
        HubSettings()


@pytest.mark.parametrize("value", ['{"L02_runtime": "Bearer sk-live-4711"', '["Bearer sk-live-4711"]', '{"L02_runtime": ["sk-live-4711"]}'])
def test_a_wrong_setting_is_named_and_its_value_not_shown(value):
    env = {**os.environ, "HUB_REQUEST_CREDENTIALS": value}

    ended = subprocess.run([sys.executable, "-c", "import hub.settings"], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert ended.stderr.startswith("E11931: a setting has a wrong value: request_credentials: ")
    assert "4711" not in ended.stderr + ended.stdout


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="asked of SQLite only")
@pytest.mark.parametrize(("name", "value"), [("journal_mode", "wal"), ("synchronous", 1)])
def test_readers_of_sqlite_do_not_wait_for_its_writer_and_a_commit_not_for_the_disk(name, value):
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {name}")

        assert cursor.fetchone() == (value,)
