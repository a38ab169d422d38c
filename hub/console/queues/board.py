"""All queues of the broker with what waits in them and who reads them, also those that nobody reads."""

from __future__ import annotations

from dataclasses import dataclass

from hub.celery import QUEUES
from hub.console import workers
from hub.events import presence
from hub.telemetry import queues, readers


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueLine:
    """One queue; `is_orphan` when messages wait and no worker reads it."""

    name: str
    ready: int
    oldest_sec: float | None
    readers: list[str]
    is_orphan: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """The queues, orphans first, and the workers; `asked_sec_ago` is None when nobody knows who reads what.

    `relay_sec_ago` says when a relay was last seen; None: not within a month.
    `unread` are the hub's own queues that no worker with a sign of life reads; `last_read` says when one was last seen to be.
    """

    queues: list[QueueLine]
    workers: dict[str, list[str]]
    beating: list[str]
    unread: list[str]
    last_read: dict[str, float]
    unacknowledged: int
    asked_sec_ago: float | None
    relay_sec_ago: float | None


def look() -> Board:
    """Read the board; `redis.RedisError` while Redis is away."""
    known, alive = readers.known(), workers.live_workers()
    named = {name for names in known.queues.values() for name in names}
    lines = [_line(queue, known) for queue in queues.queues(also=[*QUEUES, *sorted(named)])]
    return Board(
        queues=sorted(lines, key=lambda line: (not line.is_orphan, -line.ready, line.name)),
        workers=dict(sorted(known.queues.items())),
        beating=sorted(alive),
        unread=workers.unread(alive),
        last_read=known.last_read,
        unacknowledged=queues.unacknowledged(),
        asked_sec_ago=known.asked_sec_ago,
        relay_sec_ago=presence.seen_sec_ago(),
    )


def _line(queue: queues.Queue, known: readers.Readers) -> QueueLine:
    reading = known.of(queue.name)
    is_orphan = queue.ready > 0 and not reading and known.asked_sec_ago is not None
    return QueueLine(name=queue.name, ready=queue.ready, oldest_sec=queue.oldest_sec, readers=reading, is_orphan=is_orphan)
