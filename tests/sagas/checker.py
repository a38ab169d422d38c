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
from dataclasses import dataclass, field
from itertools import combinations, pairwise

from tests.sagas.history import (
    RUN_MOVES,
    STEP_MOVES,
    Definition,
    Direction,
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

DENIED = frozenset({"pending", "failed"})
"""A step in one of these certainly did not happen, says the book."""

_Found = dict[Violation, list[str]]
_Effect = tuple[str, str, Direction]


def check(history: History) -> Judgement:
    """Return what is wrong with the history. Linear in its size: one pass over each part, hash maps between them."""
    found: _Found = defaultdict(list)
    _check_submissions(history, found)
    seen = _read_ledger(history, found)
    books = _read_moves(history, found)
    for saga in history.sagas:
        _check_saga(_Case(saga, history.definitions[saga.definition], history, seen, books[saga.id]), found)
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


@dataclass(slots=True)
class _Seen:
    """The ledger by (saga, step, direction): when each was first asked for, first and last applied, under which keys."""

    first_asked: dict[_Effect, int] = field(default_factory=dict)
    first_applied: dict[_Effect, int] = field(default_factory=dict)
    last_applied: dict[_Effect, int] = field(default_factory=dict)
    keys: dict[_Effect, set[str]] = field(default_factory=lambda: defaultdict(set))


def _read_ledger(history: History, found: _Found) -> _Seen:
    seen, applied = _Seen(), Counter[str]()
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


@dataclass(slots=True)
class _Book:
    """What the hub wrote about one saga: where run and steps stand after all moves, and where each step has been."""

    status: str = ""
    reason: str = ""
    steps: dict[str, str] = field(default_factory=lambda: defaultdict(lambda: "pending"))
    been: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


def _read_moves(history: History, found: _Found) -> Mapping[str, _Book]:
    books: dict[str, _Book] = defaultdict(_Book)
    for move in history.moves:
        if move.old != move.new:
            _follow(books[move.saga], move, found)
    return books


def _follow(book: _Book, move: Move, found: _Found) -> None:
    at, table = (book.steps[move.step], STEP_MOVES) if move.step else (book.status, RUN_MOVES)
    text = f"{move.saga} {move.step or 'run'}: {move.old} -> {move.new}"
    if move.new not in table.get(move.old, frozenset()):
        found[Violation.ILLEGAL_MOVE].append(text)
    if at != move.old:
        found[Violation.BROKEN_HISTORY].append(f"{text}, but it was {at}")
    if not move.step:
        book.status, book.reason = move.new, move.reason
        return
    if move.new == "running" and book.status == "compensating":
        found[Violation.STARTED_AFTER_TURNING_BACK].append(text)
    book.steps[move.step] = move.new
    book.been[move.step].add(move.new)


# --- one saga -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Case:
    """One saga with all that was said and seen of it."""

    saga: Saga
    definition: Definition
    history: History
    seen: _Seen
    book: _Book

    def applied(self, step: str, direction: Direction) -> int | None:
        """Return the ledger line at which that first took effect."""
        return self.seen.first_applied.get((self.saga.id, step, direction))

    def asked(self, step: str, direction: Direction) -> int | None:
        return self.seen.first_asked.get((self.saga.id, step, direction))

    def happened(self, direction: Direction) -> list[str]:
        """Return the steps with that effect, in the order of the definition."""
        return [step for step in self.definition.steps if self.applied(step, direction) is not None]

    def has_been(self, step: str, status: str) -> bool:
        return status in self.book.been.get(step, ())


def _check_saga(case: _Case, found: _Found) -> None:
    for kind, steps in (
        (Violation.OUT_OF_ORDER, _out_of_order(case)),
        (Violation.UNDONE_IN_WRONG_ORDER, _undone_in_wrong_order(case)),
        (Violation.UNDONE_UNTRIED, _undone_untried(case)),
        (Violation.ORPHAN, _orphans(case)),
        (Violation.BROKEN_HISTORY, _rows_elsewhere(case)),
        *_against_the_ledger(case),
        *_by_status(case),
    ):
        _add(found, kind, [f"{case.saga.id} {step}" for step in steps])


def _out_of_order(case: _Case) -> Iterable[str]:
    """The effect of a step precedes the first request of the next, unless the step was skipped."""
    steps = case.definition.steps
    for before, after in pairwise(steps):
        asked, applied = case.asked(after, "do"), case.applied(before, "do")
        if asked is not None and not case.has_been(before, "skipped") and (applied is None or applied > asked):
            yield after


def _undone_in_wrong_order(case: _Case) -> Iterable[str]:
    """Later steps are undone first. An undo that was given up may still arrive, or be done again for an operator, at any time."""
    for earlier, later in combinations(case.happened("undo"), 2):
        if not case.has_been(later, "compensation_failed") and (case.applied(earlier, "undo") or 0) < (case.applied(later, "undo") or 0):
            yield f"{earlier} before {later}"


def _undone_untried(case: _Case) -> Iterable[str]:
    """An undo of a step whose every request was lost is right: the hub cannot know. One of a step never begun is not."""
    return [step for step in case.happened("undo") if case.asked(step, "do") is None and not case.has_been(step, "running")]


def _orphans(case: _Case) -> Iterable[str]:
    for step in case.happened("undo"):
        if case.seen.last_applied.get((case.saga.id, step, "do"), 0) > (case.applied(step, "undo") or 0):
            yield step


def _rows_elsewhere(case: _Case) -> Iterable[str]:
    if case.saga.status != case.book.status:
        yield f"is {case.saga.status}, its history ends {case.book.status or 'before it began'}"
    for step in case.definition.steps:
        stored, told = case.history.steps.get((case.saga.id, step)), case.book.steps[step]
        if stored != told:
            yield f"{step} is {stored}, its history ends {told}"


def _against_the_ledger(case: _Case) -> Iterable[tuple[Violation, list[str]]]:
    done, undone, book = case.happened("do"), case.happened("undo"), case.book.steps
    steps = case.definition.steps
    yield Violation.HIDDEN_EFFECT, [step for step in done if step not in undone and book[step] in DENIED]
    yield Violation.CLAIMED_DONE, [step for step in steps if case.has_been(step, "completed") and step not in done]
    yield Violation.CLAIMED_UNDONE, [step for step in steps if case.has_been(step, "compensated") and step not in undone]


def _by_status(case: _Case) -> Iterable[tuple[Violation, list[str]]]:
    match case.saga.status:
        case "completed":
            yield Violation.COMPLETED_WITHOUT_EFFECT, _missing_effects(case)
            yield Violation.COMPLETED_BUT_UNDONE, case.happened("undo")
        case "compensated":
            yield Violation.NOT_UNDONE, [step for step in _effects_left(case) if not _is_late(case, step)]
            yield Violation.ACTION_AFTER_UNDOING_BEGAN, [step for step in _effects_left(case) if _is_late(case, step)]
            yield Violation.STILL_OWED, _owed(case)
        case "failed":
            yield Violation.FAILED_BUT_UNDONE, case.happened("undo")
        case "needs_operator":
            yield Violation.PARKED_WITHOUT_REASON, [] if case.book.reason.strip() else ["run"]
        case _:
            yield Violation.NOT_FINAL, [case.saga.status]


def _missing_effects(case: _Case) -> list[str]:
    needed = [step for step in case.definition.steps if step not in case.definition.optional]
    return [step for step in needed if case.applied(step, "do") is None]


def _effects_left(case: _Case) -> list[str]:
    """Return the steps that happened, can be undone, and were not."""
    undone = case.happened("undo")
    return [step for step in case.happened("do") if step in case.definition.undoable and step not in undone]


def _is_late(case: _Case, step: str) -> bool:
    begun = min((case.applied(other, "undo") or 0 for other in case.happened("undo")), default=None)
    return begun is not None and case.seen.last_applied[case.saga.id, step, "do"] > begun


def _owed(case: _Case) -> list[str]:
    owing = {"completed", "unknown", "running", "waiting", "compensating", "compensation_failed"}
    return [step for step in case.definition.steps if step in case.definition.undoable and case.book.steps[step] in owing]


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
