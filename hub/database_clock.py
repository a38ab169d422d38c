"""The database's clock, for leases and deadlines: processes on machines whose clocks differ still agree."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime

from django.db import DatabaseError, connection

RESYNC_SEC = 30.0

_synced: tuple[float, float] | None = None


def now() -> float:
    """Return seconds since 1970 as the database sees them, asked anew every 30 s and carried on by the monotonic clock.

    A step of this machine's wall clock between two answers changes nothing.
    """
    global _synced
    mark = time.monotonic()
    if _synced is None:
        _synced = (mark, _ask())
    elif mark - _synced[0] > RESYNC_SEC:
        # A database that is away keeps nobody from knowing the time: the last answer is carried on.
        with suppress(DatabaseError):
            _synced = (mark, _ask())
    return _synced[1] + (mark - _synced[0])


def moment() -> datetime:
    """Return the same as a moment, for rows."""
    return datetime.fromtimestamp(now(), UTC)


def _ask() -> float:
    sql = {
        "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
        "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return float(cursor.fetchone()[0])
