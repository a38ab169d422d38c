"""How a history is spoilt: finding the place, and changing what stands there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from tests.sagas.history import Definition, Direction, Entry, History, Move, Saga

# --- finding a place ------------------------------------------------------------------------------------------------


def promise(history: History, saga: Saga) -> Definition:
    return history.definitions[saga.definition]


def with_status(history: History, *statuses: str) -> Saga | None:
    """Return a saga that ended so, and of which no person decided anything by hand."""
    by_hand = {move.saga for move in history.moves if move.reason.startswith("by hand")}
    return next((saga for saga in history.sagas if saga.status in statuses and saga.id not in by_hand), None)


def lines(history: History, saga: Saga, direction: Direction) -> list[Entry]:
    return [entry for entry in history.ledger if entry.saga == saga.id and entry.direction == direction and entry.event == "applied"]


def first_line(history: History, status: str, direction: Direction) -> Entry | None:
    saga = with_status(history, status)
    applied = lines(history, saga, direction) if saga else []
    return applied[0] if applied else None


def line(saga: Saga, step: str, direction: Direction) -> Entry:
    return Entry(seq=0, event="applied", key="planted", saga=saga.id, step=step, direction=direction)


# --- changing it ----------------------------------------------------------------------------------------------------


def ledger(history: History, entries: Iterable[Entry]) -> History:
    return replace(history, ledger=[replace(entry, seq=number) for number, entry in enumerate(entries, start=1)])


def without(history: History, gone: Iterable[Entry]) -> History:
    seqs = {entry.seq for entry in gone}
    return ledger(history, [entry for entry in history.ledger if entry.seq not in seqs])


def moved_to_the_end(history: History, late: list[Entry]) -> History:
    seqs = {entry.seq for entry in late}
    return ledger(history, [*(entry for entry in history.ledger if entry.seq not in seqs), *late])


def rejected(history: History, entry: Entry) -> History:
    """Let what the ledger says was applied have been rejected, and never replayed."""
    same = [other.seq for other in history.ledger if other.key == entry.key]
    return replace(history, ledger=[replace(other, event="rejected") if other.seq in same else other for other in history.ledger])


def saga_row(history: History, saga: Saga, **fields: str) -> History:
    return replace(history, sagas=[replace(other, **fields) if other is saga else other for other in history.sagas])


def moves(history: History, change: Callable[[list[Move]], list[Move]], saga: Saga) -> History:
    mine = [move for move in history.moves if move.saga == saga.id]
    others = [move for move in history.moves if move.saga != saga.id]
    return replace(history, moves=[*others, *change(mine)])
