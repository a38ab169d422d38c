"""Judge one ended run: what the rows say against what the book of effects says (pure).

Nothing is demanded of a saga whose steps keep no book: then only the rows are judged, and what the user's own check says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hub.testing.values import Violation
from sagas.spec import SagaSpec
from sagas.states import FINAL

Line = Mapping[str, Any]
_FINAL = {status.value for status in FINAL}


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One run as it was found: its status, its steps' statuses by id, and its book of effects in order."""

    spec: SagaSpec
    status: str
    steps: Mapping[str, str]
    book: Sequence[Line]
    keeps_book: frozenset[str]
    """The steps whose effects are in the book when nothing disturbs them."""


def judge(run: Found) -> list[Violation]:
    """Return everything that is wrong with the run."""
    if run.status not in _FINAL:
        return [Violation(kind="stuck", text=f"still {run.status}")]
    return [*_lies(run), *_doubles(run), *_disorder(run)]


def _lies(run: Found) -> Iterator[Violation]:
    done, undone = _applied(run, "action"), _applied(run, "comp")
    undoable = {step.step_id for step in run.spec.steps if step.undo is not None}
    if run.status == "completed":
        yield from _say("lied", "completed, but {} never happened", sorted(run.keeps_book - set(done)))
        yield from _say("lied", "completed, but {} was undone", undone)
    if run.status == "compensated":
        yield from _say("lied", "compensated, but {} is still there", [step for step in done if step in undoable and step not in undone])
    yield from _say("lied", "{} took effect after it was undone", _late(run))
    claimed = [step for step, status in run.steps.items() if status == "compensated" and step in done and step not in undone]
    yield from _say("lied", "{} is called compensated and was not undone", claimed)


def _doubles(run: Found) -> Iterator[Violation]:
    times = Counter((line["step"], line["kind"]) for line in run.book if line["ev"] == "apply")
    for (step, kind), count in times.items():
        if count > 1:
            word = "done" if kind == "action" else "undone"
            keys = sorted({line["key"] for line in run.book if (line["step"], line["kind"]) == (step, kind)})
            yield Violation(kind="doubled", text=f"{step} was {word} {count} times under {', '.join(keys)}")


def _disorder(run: Found) -> Iterator[Violation]:
    order = {step.step_id: index for index, step in enumerate(run.spec.steps)}
    for kind, sign, word in (("action", 1, "done"), ("comp", -1, "undone")):
        for before, after in pairwise(_applied(run, kind)):
            if sign * (order[after] - order[before]) < 0 and not _side_by_side(run.spec, before, after):
                yield Violation(kind="out of order", text=f"{after} was {word} after {before}")


def _side_by_side(spec: SagaSpec, one: str, other: str) -> bool:
    groups = {step.step_id: step.parallel_group for step in spec.steps}
    return bool(groups[one]) and groups[one] == groups[other]


def _applied(run: Found, kind: str) -> list[str]:
    """Return the steps with an effect of that kind, in the order in which it first happened."""
    return list(dict.fromkeys(line["step"] for line in run.book if line["ev"] == "apply" and line["kind"] == kind))


def _late(run: Found) -> list[str]:
    undone: set[str] = set()
    late = []
    for line in run.book:
        if line["ev"] == "apply" and line["kind"] == "comp":
            undone.add(line["step"])
        elif line["ev"] == "apply" and line["step"] in undone:
            late.append(line["step"])
    return late


def _say(kind: str, text: str, steps: Sequence[str]) -> list[Violation]:
    return [Violation(kind=kind, text=text.format(step)) for step in steps]
