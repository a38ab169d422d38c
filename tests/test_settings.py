"""What the database is asked for when a connection is made."""

import pytest
from django.db import connection


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="asked of SQLite only")
@pytest.mark.parametrize(("name", "value"), [("journal_mode", "wal"), ("synchronous", 1), ("wal_autocheckpoint", 4000)])
def test_sqlite_writes_a_log_and_copies_it_seldom(name, value):
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {name}")

        assert cursor.fetchone() == (value,)
