"""One saga of a history: what was seen of it, what was written of it, and where the two disagree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations, pairwise

from tests.sagas.history import DENIED, Definition, Direction, Saga, Violation

Effect = tuple[str, str, Direction]
"""(saga, step, direction)"""


@dataclass(slots=True)
class Seen:
    """The ledger: at which line each effect was first asked for, first and last applied, and under which keys."""

    first_asked: dict[Effect, int] = field(default_factory=dict)
    first_applied: dict[Effect, int] = field(default_factory=dict)
    last_applied: dict[Effect, int] = field(default_factory=dict)
    keys: dict[Effect, set[str]] = field(default_factory=lambda: defaultdict(set))


@dataclass(slots=True)
class Book:
    """What the hub wrote: where run and steps stand after all moves, where each step has been, what people did."""

    status: str = ""
    reason: str = ""
    was_reopened: bool = False
    steps: dict[str, str] = field(default_factory=lambda: defaultdict(lambda: "pending"))
    been: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    started: list[str] = field(default_factory=list)
    by_hand: set[str] = field(default_factory=set)
    """Steps of which a person said what became of them; the run itself is ""."""


@dataclass(frozen=True, slots=True)
class Case:
    """One saga with its promise, its stored row and steps, the ledger and the book."""

    saga: Saga
    definition: Definition
    stored: dict[str, str | None]
    seen: Seen
    book: Book

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

    def violations(self) -> Iterable[tuple[Violation, Iterable[str]]]:
        """Give each kind of violation with the steps it concerns, none of them if all is well."""
        yield Violation.OUT_OF_ORDER, self._out_of_order()
        yield Violation.UNDONE_IN_WRONG_ORDER, self._undone_in_wrong_order()
        yield Violation.UNDONE_UNTRIED, self._undone_untried()
        yield Violation.UNDONE_PAST_PIVOT, self._undone_past_pivot()
        yield Violation.ORPHAN, self._orphans()
        yield Violation.BROKEN_HISTORY, self._rows_elsewhere()
        yield from self._against_the_ledger()
        yield from self._by_status()

    def _out_of_order(self) -> Iterable[str]:
        """All effects of a stage precede the first request of the next, except those of skipped steps."""
        for stage, following in pairwise(self.definition.stages()):
            ended = [self.applied(step, "do") for step in stage if self._leaves_a_line(step) and not self.has_been(step, "skipped")]
            for step in following:
                asked = self.asked(step, "do")
                if asked is not None and any(line is None or line > asked for line in ended):
                    yield step

    def _leaves_a_line(self, step: str) -> bool:
        return step not in self.definition.silent

    def _undone_in_wrong_order(self) -> Iterable[str]:
        """What started later is undone first. An undo that was given up may still arrive, or be done again, at any time."""
        undone = sorted(self.happened("undo"), key=self._start)
        for earlier, later in combinations(undone, 2):
            if not self.has_been(later, "compensation_failed") and (self.applied(earlier, "undo") or 0) < (
                self.applied(later, "undo") or 0
            ):
                yield f"{earlier} before {later}"

    def _start(self, step: str) -> int:
        started = self.book.started
        return started.index(step) if step in started else len(started) + self.definition.steps.index(step)

    def _undone_untried(self) -> Iterable[str]:
        """An undo of a step whose every request was lost is right: the hub cannot know. One of a step never begun is not."""
        return [step for step in self.happened("undo") if self.asked(step, "do") is None and not self.has_been(step, "running")]

    def _undone_past_pivot(self) -> Iterable[str]:
        """Beyond its pivot a saga is not undone, unless a person decided so when nobody knew whether the pivot had happened."""
        is_past = self.applied(self.definition.pivot, "do") is not None
        decided = self.book.was_reopened and not self.has_been(self.definition.pivot, "completed")
        return self.happened("undo") if is_past and not decided else []

    def _orphans(self) -> Iterable[str]:
        for step in self.happened("undo"):
            if self.seen.last_applied.get((self.saga.id, step, "do"), 0) > (self.applied(step, "undo") or 0):
                yield step

    def _rows_elsewhere(self) -> Iterable[str]:
        if self.saga.status != self.book.status:
            yield f"is {self.saga.status}, its history ends {self.book.status or 'before it began'}"
        for step, stored in self.stored.items():
            if stored != self.book.steps[step]:
                yield f"{step} is {stored}, its history ends {self.book.steps[step]}"

    def _against_the_ledger(self) -> Iterable[tuple[Violation, list[str]]]:
        done, undone, book = self.happened("do"), self.happened("undo"), self.book
        told = [step for step in self.definition.steps if self._leaves_a_line(step) and step not in book.by_hand]
        yield Violation.HIDDEN_EFFECT, [step for step in done if step not in undone and book.steps[step] in DENIED]
        yield Violation.CLAIMED_DONE, [step for step in told if self.has_been(step, "completed") and step not in done]
        yield Violation.CLAIMED_UNDONE, [step for step in told if self.has_been(step, "compensated") and step not in undone]

    def _by_status(self) -> Iterable[tuple[Violation, list[str]]]:
        if "" in self.book.by_hand:
            return
        match self.saga.status:
            case "completed":
                yield Violation.COMPLETED_WITHOUT_EFFECT, self._missing_effects()
                yield Violation.COMPLETED_BUT_UNDONE, self.happened("undo")
            case "compensated":
                yield Violation.NOT_UNDONE, [step for step in self._effects_left() if not self._is_late(step)]
                yield Violation.ACTION_AFTER_UNDOING_BEGAN, [step for step in self._effects_left() if self._is_late(step)]
                yield Violation.STILL_OWED, self._owed()
            case "failed":
                yield Violation.FAILED_BUT_UNDONE, self.happened("undo")
            case "needs_operator":
                yield Violation.PARKED_WITHOUT_REASON, [] if self.book.reason.strip() else ["run"]
            case _:
                yield Violation.NOT_FINAL, [self.saga.status]

    def _missing_effects(self) -> list[str]:
        may_lack = self.definition.optional | self.definition.silent | self.book.by_hand
        return [step for step in self.definition.steps if step not in may_lack and self.applied(step, "do") is None]

    def _effects_left(self) -> list[str]:
        """Return the steps that happened, can be undone, and were not."""
        undone = self.book.by_hand | set(self.happened("undo"))
        return [step for step in self.happened("do") if step in self.definition.undoable and step not in undone]

    def _is_late(self, step: str) -> bool:
        begun = min((self.applied(other, "undo") or 0 for other in self.happened("undo")), default=None)
        return begun is not None and self.seen.last_applied[self.saga.id, step, "do"] > begun

    def _owed(self) -> list[str]:
        owing = {"completed", "unknown", "running", "waiting", "compensating", "compensation_failed"}
        return [step for step in self.definition.steps if step in self.definition.undoable and self.book.steps[step] in owing]
