"""Which settings are refused, and what the database is asked for when a connection is made."""

import pytest
from django.db import connection
from pydantic import ValidationError

from hub.conf import HubSettings


@pytest.mark.parametrize("value", ["inf", "1e400", "nan", "0", "soon"])
def test_a_time_that_never_comes_is_refused(monkeypatch, value):
    monkeypatch.setenv("HUB_SAGA_SWEEP_SEC", value)

    with pytest.raises(ValidationError, match="saga_sweep_sec"):
        HubSettings()


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="asked of SQLite only")
@pytest.mark.parametrize(("name", "value"), [("journal_mode", "wal"), ("synchronous", 1)])
def test_readers_of_sqlite_do_not_wait_for_its_writer_and_a_commit_not_for_the_disk(name, value):
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {name}")

        assert cursor.fetchone() == (value,)
