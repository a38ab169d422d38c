"""Places in the stream: Redis' ids, and the same as text that sorts (pure)."""

from __future__ import annotations

from datetime import UTC, datetime

START = "0-0"


def sortable(stream_id: str) -> str:
    """Return a stream id (``1716-3``) as text in which later is greater."""
    milliseconds, _, number = stream_id.partition("-")
    return f"{int(milliseconds):020d}-{int(number or 0):020d}"


def stream_id(position: str) -> str:
    """Return the stream id of a sortable position."""
    milliseconds, _, number = position.partition("-")
    return f"{int(milliseconds)}-{int(number or 0)}"


def before(stream_id: str) -> str:
    """Return the stream id right before another."""
    milliseconds, number = map(int, stream_id.split("-"))
    return f"{milliseconds}-{number - 1}" if number else f"{milliseconds - 1}-{2**63}"


def at(moment: datetime) -> str:
    """Return the first stream id of a moment, by Redis' clock; there is none before 1970."""
    return f"{max(int(moment.timestamp() * 1000), 0)}-0"


def moment_of(stream_id: str) -> datetime:
    """Return when the entry of a stream id was added, by Redis' clock."""
    return datetime.fromtimestamp(int(stream_id.partition("-")[0]) / 1000, UTC)
