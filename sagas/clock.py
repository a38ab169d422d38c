"""The time of sagas is the database's, as seconds since 1970 in the rules and as moments in the rows."""

from __future__ import annotations

from datetime import UTC, datetime

from hub.database_clock import now

__all__ = ["moment", "now", "to_datetime", "to_seconds"]


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def to_datetime(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


def to_seconds(when: datetime | None) -> float | None:
    return None if when is None else when.timestamp()
