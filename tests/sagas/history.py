"""What a history of sagas is made of: the input of `tests.sagas.checker`, and what it can find wrong with one.

Three parties write it. The callers: `Submission`. The target of the steps: `Entry`, one total order of requests and
effects. The hub: the rows of its tables as they stand when everything has come to rest (`Saga`, steps, `Move`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Literal

Direction = Literal["do", "undo"]


class Violation(StrEnum):
    """What can be wrong with a history."""

    LEDGER_GAP = "the ledger has a gap, so the verdict is worth nothing"
    LOST = "an accepted saga is not there"
    REFUSED_BUT_THERE = "a refused saga is there"
    DOUBLED = "one submission made two sagas"
    NOT_FINAL = "a saga did not end"
    PHANTOM = "a saga that nobody submitted"
    UNKNOWN_SAGA = "an effect of a saga that is not there"
    UNKNOWN_STEP = "an effect of a step that its definition does not have"
    TWICE_UNDER_ONE_KEY = "an effect happened twice under one key"
    TWICE_UNDER_TWO_KEYS = "an effect happened under two keys"
    OUT_OF_ORDER = "a step was asked for before the one before it had happened"
    COMPLETED_WITHOUT_EFFECT = "completed, but a required step did not happen"
    COMPLETED_BUT_UNDONE = "completed, but a step was undone"
    FAILED_BUT_UNDONE = "failed without compensation, but a step was undone"
    NOT_UNDONE = "compensated, but a step that happened was not undone"
    UNDONE_UNTRIED = "a step was undone that was never tried"
    UNDONE_PAST_PIVOT = "undone, although its pivot had happened"
    UNDONE_IN_WRONG_ORDER = "a step was undone before one that started later"
    ORPHAN = "an action took effect after its own undo"
    ACTION_AFTER_UNDOING_BEGAN = "an action took effect after undoing had begun, and stayed"
    STARTED_AFTER_TURNING_BACK = "a step started while the saga was being undone"
    HIDDEN_EFFECT = "an effect that the book denies"
    CLAIMED_DONE = "the book says done, the ledger does not"
    CLAIMED_UNDONE = "the book says undone, the ledger does not"
    STILL_OWED = "compensated, but the book itself still owes an undo"
    PARKED_WITHOUT_REASON = "waits for an operator without a reason"
    ILLEGAL_MOVE = "a move that no table has"
    BROKEN_HISTORY = "a move does not follow the one before it, or a row is not where its last move left it"
    WRONG_VERSION = "a step ran by another version than the saga's own"


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """What a saga promised: its steps in order, which of them have an undo, which may be skipped, what runs side by side."""

    version: str
    steps: tuple[str, ...]
    undoable: frozenset[str]
    optional: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    """Steps that leave no line in this ledger: waits, children, calls of another target."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Steps that run side by side with their neighbours, by step: the name of the group."""
    pivot: str = ""
    """The step beyond which nothing is undone."""

    def stages(self) -> list[list[str]]:
        """Return the steps in the order in which they may run, those of one group together."""
        keyed = [(self.groups.get(step) or step, step) for step in self.steps]
        return [[step for _, step in stage] for _, stage in groupby(keyed, key=lambda pair: pair[0])]


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A start as its caller saw it; `info`: the caller was told nothing, so the saga may be there or not."""

    key: str
    outcome: Literal["ok", "fail", "info"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the target's ledger. A request is `received`, then `applied`, `replayed` (known key) or `rejected`."""

    seq: int
    event: Literal["received", "applied", "replayed", "rejected"]
    key: str
    saga: str
    step: str
    direction: Direction
    version: str = ""
    """Of the definition by which the sender ran the step; empty when it cannot be known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Saga:
    """A run's row: `key` as in its submission, `definition` a key of `History.definitions`, `status` as stored."""

    id: str
    key: str
    definition: str
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """One row of the hub's history; `step` is empty for the run itself. A note (`old` == `new`) is no move.

    A `reason` that begins with "by hand" is an operator's word, and is taken: what people did leaves no line in a ledger.
    """

    saga: str
    step: str
    old: str
    new: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What a run must have exercised before "valid" means anything."""

    faults: int = 0
    sagas: int = 0
    compensated: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """Everything there is to judge; `steps` maps (saga id, step id) to the stored status of the step."""

    definitions: Mapping[str, Definition]
    submissions: Sequence[Submission]
    ledger: Sequence[Entry]
    sagas: Sequence[Saga]
    steps: Mapping[tuple[str, str], str]
    moves: Sequence[Move]
    faults: Mapping[str, int] = field(default_factory=dict)
    """How often each kind of fault really bit."""
    is_quiet: bool = True
    """Whether everything had come to rest when the rows were read."""
    need: Need = Need()


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """`valid` is None when nothing was violated but too little was exercised; `doubts` says what was missing."""

    valid: bool | None
    violations: Mapping[Violation, list[str]]
    doubts: tuple[str, ...]
    figures: Mapping[str, int]


RUN_MOVES: Mapping[str, frozenset[str]] = {
    "": frozenset({"pending"}),
    "pending": frozenset({"running", "waiting", "compensating", "failed", "needs_operator"}),
    "running": frozenset({"waiting", "completed", "compensating", "failed", "needs_operator"}),
    "waiting": frozenset({"running", "compensating", "failed", "needs_operator"}),
    "compensating": frozenset({"compensated", "needs_operator"}),
    "failed": frozenset({"running", "compensating", "completed", "compensated"}),
    "needs_operator": frozenset({"running", "compensating", "completed", "compensated"}),
    "completed": frozenset({"compensating"}),
}
"""The last rows are an operator's and, for a completed child, its parent's."""

STEP_MOVES: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"running", "waiting", "skipped"}),
    "running": frozenset({"completed", "failed", "unknown", "skipped", "waiting"}),
    "waiting": frozenset({"running", "pending", "failed", "unknown", "completed", "skipped"}),
    "completed": frozenset({"compensating"}),
    "unknown": frozenset({"compensating", "waiting", "skipped"}),
    "failed": frozenset({"pending", "skipped"}),
    "skipped": frozenset({"compensating"}),
    "compensating": frozenset({"compensated", "compensation_failed"}),
    "compensation_failed": frozenset({"compensating", "compensated"}),
}

DENIED = frozenset({"pending", "failed"})
"""A step in one of these certainly did not happen, says the book."""
