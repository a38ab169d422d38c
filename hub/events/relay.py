"""The relay: takes events from the stream over into rows, and sends what is due. Any number of processes may run it.

They share one consumer group: Redis gives each event to one of them, and what a dead one left is claimed by another.
An entry is acknowledged after its rows are committed, so at worst it is taken over twice, which changes nothing.

    relay.run(stop)             # until `stop` is set
    relay.Relay().round()       # one round; returns what it did
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import redis
from django.db import DatabaseError, close_old_connections, connections
from kombu.exceptions import OperationalError

from hub import database_clock
from hub.events import answers, dispatch, intake, outbox, positions, presence, replays, retention, stream, topic_counts
from hub.events.intake import Entry
from hub.events.roster import Roster
from hub.redis_client import client, lacks_memory

log = logging.getLogger(__name__)
GROUP = "relay"
BATCH = 200
BLOCK_MS = 50
CLAIM_IDLE_MS = 10_000
CLAIM_EVERY_SEC, UNANSWERED_EVERY_SEC, OUTBOX_EVERY_SEC, HOUSE_EVERY_SEC = 3.0, 1.0, 1.0, 15.0
MAX_ROUNDS_BEHIND = 20
SENDER_LEASE_MS = 5_000
AWAY_MS = 3_600_000
MOST_COUNTED = 10_000
FEW, GATHER_SEC = 50, 0.02
"""A round costs some milliseconds however little it finds: after one that found few, the next waits for more."""
FIRST_PAUSE_SEC, LONGEST_PAUSE_SEC = 0.2, 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What one round did: events taken over, answers recorded, deliveries sent, outbox rows sent."""

    taken: int = 0
    answered: int = 0
    sent: int = 0
    outbox: int = 0


class Relay:
    """One member of the consumer group; not thread-safe."""

    def __init__(self, name: str | None = None, *, claim_idle_ms: int = CLAIM_IDLE_MS) -> None:
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._claim_idle_ms = claim_idle_ms
        self._roster = Roster()
        self._floor = positions.sortable(positions.START)
        self._unfinished = False
        self._due = {"claim": 0.0, "unanswered": 0.0, "outbox": 0.0, "house": 0.0}

    def round(self, *, block_ms: int = BLOCK_MS) -> Round:
        """Take over what is new, send what is due; waits up to `block_ms` for events when there is nothing to do."""
        now = database_clock.moment()
        from_outbox = outbox.send_left(now=now) if self._is_due("outbox", OUTBOX_EVERY_SEC) else 0
        if from_outbox == outbox.BATCH:
            self._due["outbox"] = 0.0  # there is more: what gathered while Redis was away would take as long again
        left = self._take_left() if self._is_due("claim", CLAIM_EVERY_SEC) else 0
        fresh = self._take_new(block_ms=block_ms)
        answered, sent = self._deliver(database_clock.moment())
        if self._is_due("house", HOUSE_EVERY_SEC):
            self._keep_house(database_clock.moment())
        return Round(taken=left + fresh, answered=answered, sent=sent, outbox=from_outbox)

    def _deliver(self, now: datetime) -> tuple[int, int]:
        """Record answers and send what is due, unless another relay is doing it; returns how many of each.

        One at a time keeps what is under way within each subscription's limit. Should a lease end too early, two relays
        do the same work, which is only slower.
        """
        if not client().set(stream.SENDER, self.name, nx=True, px=SENDER_LEASE_MS):
            return 0, 0
        try:
            answered = answers.take(now=now)
            # As long as answers wait to be read, nobody is known to have given none: the relays may have been away for minutes.
            if answered < answers.BATCH and self._is_due("unanswered", UNANSWERED_EVERY_SEC):
                dispatch.give_up_waiting(now=now)
                replays.advance(now=now)
            return answered, dispatch.send_due(now=now, floor=self._floor)
        finally:
            if client().get(stream.SENDER) == self.name:
                client().delete(stream.SENDER)

    def _is_due(self, what: str, every_sec: float) -> bool:
        now = time.monotonic()
        if now < self._due[what]:
            return False
        self._due[what] = now + every_sec
        return True

    def _take_new(self, *, block_ms: int) -> int:
        if self._unfinished:
            return self._take(self._read("0", None))
        return self._take(self._read(">", block_ms or None))

    def _read(self, after: str, block_ms: int | None) -> list[Entry]:
        """Return new entries (``>``), or with ``0`` those that were given to this relay and not acknowledged."""
        try:
            answer = self._read_group(after, block_ms)
        except redis.ResponseError as exc:
            if not str(exc).startswith("NOGROUP"):
                raise
            # The first relay ever, or Redis came back empty: reading all that is there again is harmless.
            ensure_group()
            answer = self._read_group(after, block_ms)
        entries: list[Entry] = [entry for entry in answer[0][1] if entry[1]] if answer else []
        self._unfinished = self._unfinished and bool(entries)
        return entries

    def _read_group(self, after: str, block_ms: int | None) -> Any:
        return client().xreadgroup(GROUP, self.name, {stream.STREAM: after}, count=BATCH, block=block_ms)

    def _take_left(self) -> int:
        """Take over what a relay that died, or this one before an error, was given and did not finish."""
        total, cursor = 0, positions.START
        for _ in range(MAX_ROUNDS_BEHIND):
            answer: Any = self._autoclaim(cursor)
            cursor, entries = answer[0], [entry for entry in answer[1] if entry[1]]
            total += self._take(entries)
            if cursor == positions.START:
                break
        return total

    def _autoclaim(self, cursor: str) -> Any:
        try:
            return client().xautoclaim(stream.STREAM, GROUP, self.name, self._claim_idle_ms, start_id=cursor, count=BATCH)
        except redis.ResponseError as exc:
            if not str(exc).startswith("NOGROUP"):
                raise
            ensure_group()
            return (positions.START, [])

    def _take(self, entries: list[Entry]) -> int:
        if not entries:
            return 0
        # Until it is acknowledged the batch is this relay's to finish, also after an error of the database.
        self._unfinished, before = True, self._unfinished
        number, taken = intake.take(entries, self._roster, now=database_clock.moment())
        client().xack(stream.STREAM, GROUP, *[stream_id for stream_id, _ in entries[:number]])
        self._unfinished = before or number < len(entries)
        topic_counts.count(taken)
        self._mark()
        return number

    def _mark(self) -> None:
        """Say up to where everything is taken over: publishers may drop it, ordered subscriptions may send it."""
        mark = taken_over()
        self._floor = positions.sortable(mark)
        if len(self._roster):
            client().set(stream.READ, mark)
        else:
            client().delete(stream.READ)

    def _keep_house(self, now: datetime) -> None:
        self._roster.refresh()
        self._mark()
        retention.trim_stream(taken_over=positions.stream_id(self._floor), now=now)
        unread, oldest = behind()
        retention.watch(unread=unread, oldest_unread=oldest, now=now)
        drop_dead_consumers()
        presence.beat()


def ensure_group() -> None:
    """Make the consumer group from the beginning of the stream, unless it is there."""
    try:
        client().xgroup_create(stream.STREAM, GROUP, id="0", mkstream=True)
    except redis.ResponseError as exc:
        if not str(exc).startswith("BUSYGROUP"):
            raise


def taken_over() -> str:
    """Return the stream id up to which every entry is taken over: the one before the first open, the last given out, or this moment.

    The last given out alone would not do where nothing is left: a Redis that came back empty, or with what it knew an hour
    ago, has given out less than there are rows, and those would wait in their order for the next event.
    """
    now, last, first_open = _group_state()
    if first_open is not None:
        return positions.before(first_open)
    if client().xrange(stream.STREAM, min=f"({last}", count=1):
        return last
    return max(last, positions.before(now), key=positions.sortable)


def _group_state() -> tuple[str, str, str | None]:
    """Return the first id of this moment, the last one given to a relay, and the first of those not acknowledged yet."""
    with client().pipeline(transaction=True) as pipe:
        pipe.time()
        pipe.xinfo_groups(stream.STREAM)
        pipe.xpending(stream.STREAM, GROUP)
        (seconds, microseconds), groups, pending = pipe.execute()
    last = next((group["last-delivered-id"] for group in groups if group["name"] == GROUP), positions.START)
    return f"{seconds * 1000 + microseconds // 1000}-0", last, pending["min"] if pending["pending"] else None


def behind() -> tuple[int, str | None]:
    """Return how many events the relay has not taken over, and the id of the oldest of them."""
    mark = taken_over()
    first: Any = client().xrange(stream.STREAM, min=f"({mark}", count=1)
    if not first:
        return 0, None
    groups: Any = client().xinfo_groups(stream.STREAM)
    return sum(_lag(one) + int(one["pending"]) for one in groups if one["name"] == GROUP), first[0][0]


def _lag(group: dict[str, Any]) -> int:
    """Return how many entries the group was not given; before 7.0, and after some deletions, Redis does not say, and they are counted."""
    if group.get("lag") is not None:
        return int(group["lag"])
    return int(client().eval(stream.COUNT_AFTER, 1, stream.STREAM, group["last-delivered-id"], MOST_COUNTED))  # type: ignore[arg-type]


def make_room() -> None:
    """Give up what was taken over, as a full stream does, when Redis has no memory left: trimming is what it still takes then."""
    given_up = client().xtrim(stream.STREAM, minid=taken_over(), approximate=False)
    log.error("Redis is full: events that were taken over are given up and cannot be replayed; give it memory", extra={"count": given_up})


def drop_dead_consumers() -> None:
    """Forget members of the group that have been away for an hour and hold nothing."""
    found: Any = client().xinfo_consumers(stream.STREAM, GROUP)
    for one in found:
        if one["idle"] > AWAY_MS and not one["pending"]:
            client().xgroup_delconsumer(stream.STREAM, GROUP, one["name"])


def run(stop: threading.Event) -> None:
    """Do rounds until `stop` is set; while Redis or the database is away, wait for it, at most 5 s at a time."""
    relay, pause_sec, block_ms, is_full = Relay(), FIRST_PAUSE_SEC, 0, False
    while not stop.is_set():
        try:
            close_old_connections()
            if is_full:
                make_room()
            done = relay.round(block_ms=block_ms)
            done_by_now = done.taken + done.sent + done.answered
            # An answer does not wake it, so it looks often while something happens and seldom when nothing does.
            block_ms = 0 if done_by_now else min(max(2 * block_ms, 2), BLOCK_MS)
            if 0 < done_by_now < FEW:
                stop.wait(GATHER_SEC)
            pause_sec, is_full = FIRST_PAUSE_SEC, False
        except (redis.RedisError, DatabaseError, OperationalError, OSError) as exc:
            log.warning("the relay waits", extra={"error": type(exc).__name__, "pause_sec": pause_sec})
            is_full = lacks_memory(exc)
            stop.wait(pause_sec * random.uniform(0.5, 1))  # noqa: S311  (jitter)
            pause_sec = min(pause_sec * 2, LONGEST_PAUSE_SEC)
    connections.close_all()  # of this thread: nobody else would
