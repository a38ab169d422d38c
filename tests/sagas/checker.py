"""Judge a history of sagas: what callers were told, what really happened, and what the hub's own book says.

    judgement = check(History(definitions=..., submissions=..., ledger=..., sagas=..., steps=..., moves=...))
    assert judgement.valid, judgement.violations

None of the three is believed: each is held against the others. Nothing is imported from the hub; the legal moves below
are written a second time on purpose. No times are compared, only the order of the ledger and, per saga, the order of
commits. A history that exercised too little is not valid but unknown (`Need`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from tests.sagas.case import Book, Case, Seen
from tests.sagas.history import (
    RUN_MOVES,
    STEP_MOVES,
    Definition,
    Entry,
    History,
    Judgement,
    Move,
    Need,
    Saga,
    Submission,
    Violation,
)

__all__ = ["Definition", "Entry", "History", "Judgement", "Move", "Need", "Saga", "Submission", "Violation", "check"]

_Found = dict[Violation, list[str]]


def check(history: History) -> Judgement:
    """Return what is wrong with the history. Linear in its size: one pass over each part, hash maps between them."""
    found: _Found = defaultdict(list)
    _check_submissions(history, found)
    seen = _read_ledger(history, found)
    books = _read_moves(history, found)
    for saga in history.sagas:
        definition = history.definitions[saga.definition]
        stored = {step: history.steps.get((saga.id, step)) for step in definition.steps}
        for kind, steps in Case(saga, definition, stored, seen, books[saga.id]).violations():
            _add(found, kind, [f"{saga.id} {step}" for step in steps])
    figures = _figures(history)
    doubts = _doubts(history, figures)
    return Judgement(valid=False if found else None if doubts else True, violations=dict(found), doubts=doubts, figures=figures)


# --- submissions ----------------------------------------------------------------------------------------------------


def _check_submissions(history: History, found: _Found) -> None:
    stored = Counter(saga.key for saga in history.sagas)
    submitted = {submission.key for submission in history.submissions}
    for submission in history.submissions:
        if submission.outcome == "ok" and not stored[submission.key]:
            found[Violation.LOST].append(submission.key)
        if submission.outcome == "fail" and stored[submission.key]:
            found[Violation.REFUSED_BUT_THERE].append(submission.key)
    _add(found, Violation.DOUBLED, [key for key, count in stored.items() if count > 1])
    _add(found, Violation.PHANTOM, [saga.id for saga in history.sagas if saga.key not in submitted])


def _add(found: _Found, kind: Violation, texts: Iterable[str]) -> None:
    """Note violations; a kind without any does not appear."""
    for text in texts:
        found[kind].append(text)


# --- the ledger -----------------------------------------------------------------------------------------------------


def _read_ledger(history: History, found: _Found) -> Seen:
    seen, applied = Seen(), Counter[str]()
    sagas = {saga.id: history.definitions[saga.definition] for saga in history.sagas}
    for expected, entry in enumerate(history.ledger, start=1):
        if entry.seq != expected:
            found[Violation.LEDGER_GAP].append(f"line {expected} has number {entry.seq}")
        if not _is_known(entry, sagas, found):
            continue
        effect = (entry.saga, entry.step, entry.direction)
        seen.first_asked.setdefault(effect, expected)
        if entry.event == "applied":
            applied[entry.key] += 1
            seen.keys[effect].add(entry.key)
            seen.first_applied.setdefault(effect, expected)
            seen.last_applied[effect] = expected
    _add(found, Violation.TWICE_UNDER_ONE_KEY, [key for key, count in applied.items() if count > 1])
    _add(found, Violation.TWICE_UNDER_TWO_KEYS, [str(sorted(keys)) for keys in seen.keys.values() if len(keys) > 1])
    return seen


def _is_known(entry: Entry, sagas: Mapping[str, Definition], found: _Found) -> bool:
    definition = sagas.get(entry.saga)
    if definition is None:
        found[Violation.UNKNOWN_SAGA].append(f"line {entry.seq}: {entry.saga}")
        return False
    if entry.step not in definition.steps:
        found[Violation.UNKNOWN_STEP].append(f"line {entry.seq}: {entry.saga} {entry.step}")
        return False
    if entry.version and entry.version != definition.version:
        found[Violation.WRONG_VERSION].append(f"line {entry.seq}: {entry.saga} {entry.step} by version {entry.version}")
    return True


# --- the book -------------------------------------------------------------------------------------------------------


def _read_moves(history: History, found: _Found) -> Mapping[str, Book]:
    books: dict[str, Book] = defaultdict(Book)
    for move in history.moves:
        if move.old != move.new:
            _follow(books[move.saga], move, found)
    return books


def _follow(book: Book, move: Move, found: _Found) -> None:
    at, table = (book.steps[move.step], STEP_MOVES) if move.step else (book.status, RUN_MOVES)
    text = f"{move.saga} {move.step or 'run'}: {move.old} -> {move.new}"
    if move.new not in table.get(move.old, frozenset()):
        found[Violation.ILLEGAL_MOVE].append(text)
    if at != move.old:
        found[Violation.BROKEN_HISTORY].append(f"{text}, but it was {at}")
    if move.reason.startswith("by hand"):
        book.by_hand.add(move.step)
    if move.step:
        _follow_step(book, move, found)
    else:
        book.was_reopened |= move.old in ("failed", "needs_operator")
        book.status, book.reason = move.new, move.reason


def _follow_step(book: Book, move: Move, found: _Found) -> None:
    if move.new == "running" and book.status == "compensating":
        found[Violation.STARTED_AFTER_TURNING_BACK].append(f"{move.saga} {move.step}")
    if move.new == "running" and move.step not in book.started:
        book.started.append(move.step)
    book.steps[move.step] = move.new
    book.been[move.step].add(move.new)


# --- what it was worth ----------------------------------------------------------------------------------------------


def _figures(history: History) -> dict[str, int]:
    figures = Counter(f"sagas {saga.status}" for saga in history.sagas)
    figures += Counter(f"ledger {entry.event}" for entry in history.ledger)
    figures["sagas"], figures["faults"] = len(history.sagas), sum(history.faults.values())
    return dict(sorted(figures.items()))


def _doubts(history: History, figures: Mapping[str, int]) -> tuple[str, ...]:
    need, doubts = history.need, []
    if not history.is_quiet:
        doubts.append("the rows were read before everything had come to rest")
    for name, have, wanted in (
        ("faults", figures["faults"], need.faults),
        ("sagas", figures["sagas"], need.sagas),
        ("compensated sagas", figures.get("sagas compensated", 0), need.compensated),
    ):
        if have < wanted:
            doubts.append(f"{have} {name}, {wanted} needed")
    return tuple(doubts)
