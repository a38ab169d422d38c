"""What a kill matrix is made of and what it found (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from hub.crashpoints import POINTS

Scope = Literal["process", "group"]
"""Who dies: the process that came to the point (a pool child), or the whole worker with its children."""

KINDS = ("stuck", "lied", "doubled", "out of order", "broken")
"""What can be wrong: not final; an end that the effects deny; an effect twice; a wrong order; what the user's check says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """One passage of a point in an undisturbed run: in which direction, at which step.

    `nth` counts the passages of that point at that `place`, which is what the point itself knows: ``direction step``, or
    ``- -``. Members of a group come in any order, and where one fails, not all of them come.
    """

    point: str
    place: str = "- -"
    nth: int
    direction: str
    step: str
    position: str
    """first, middle, last, or an empty string for a step between these."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """One thing that is wrong with one run."""

    kind: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One kill and the run it hit: `fell` tells whether somebody died, `recovery_sec` how long the run then took to end."""

    saga_name: str
    passage: Passage
    scope: Scope
    execution_id: str
    status: str
    fell: bool
    recovery_sec: float | None
    context: Mapping[str, Any] = field(default_factory=dict)
    passed: Sequence[str] = ()
    """Where nobody died: how often the run passed that point, by place."""
    violations: Sequence[Violation] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All cases of a matrix."""

    cases: tuple[Case, ...]

    @property
    def ok(self) -> bool:
        """Tell whether every kill fell and nothing is wrong anywhere."""
        return bool(self.cases) and all(case.fell and not case.violations for case in self.cases)

    def count(self, kind: str) -> int:
        """Return how many cases have a violation of that kind."""
        return sum(any(v.kind == kind for v in case.violations) for case in self.cases)

    def recovery_sec(self) -> list[float]:
        """Return the seconds from each kill to the end of its run, sorted."""
        return sorted(case.recovery_sec for case in self.cases if case.recovery_sec is not None)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join([_table(self.cases), summary(self), *_complaints(self.cases)])


def from_dict(data: Mapping[str, Any]) -> Report:
    """Build a report from its JSON."""
    return Report(
        cases=tuple(
            Case(**{**case, "passage": Passage(**case["passage"]), "violations": tuple(Violation(**v) for v in case["violations"])})
            for case in data["cases"]
        )
    )


def summary(report: Report) -> str:
    """Return the figures in one line."""
    times = report.recovery_sec()
    fell = sum(case.fell for case in report.cases)
    figures = " · ".join(f"{kind} {report.count(kind)}" for kind in KINDS)
    recovery = f"p50/max {times[len(times) // 2]:.1f}/{times[-1]:.1f} s" if times else "none"
    ends = ", ".join(f"{status} {n}" for status, n in sorted(Counter(case.status for case in report.cases).items()))
    return f"kills {fell} of {len(report.cases)} · {figures} · recovery {recovery} · ends: {ends}"


def _table(cases: Sequence[Case]) -> str:
    columns = [(direction, position) for direction in ("do", "undo") for position in ("first", "middle", "last", "")]
    names, points = list(dict.fromkeys(case.saga_name for case in cases)), list(POINTS)
    rows = sorted(
        {(case.saga_name, case.passage.point, case.scope) for case in cases},
        key=lambda row: (names.index(row[0]), points.index(row[1]), row[2]),
    )
    width = max((len(_row_name(row)) for row in rows), default=0)
    lines = [" " * width + "".join(f"{d + ' ' + (p or 'other'):>13}" for d, p in columns)]
    for row in rows:
        mine = [case for case in cases if (case.saga_name, case.passage.point, case.scope) == row]
        lines.append(f"{_row_name(row):{width}}" + "".join(f"{_cell(mine, *column):>13}" for column in columns))
    return "\n".join(lines)


def _row_name(row: tuple[str, str, str]) -> str:
    return f"{row[0]}  {row[1]:21} {row[2]:7}"


def _cell(cases: Sequence[Case], direction: str, position: str) -> str:
    here = [case for case in cases if (case.passage.direction, case.passage.position) == (direction, position)]
    if not here:
        return "-"
    bad = sum(bool(case.violations) or not case.fell for case in here)
    return f"{len(here)} ok" if not bad else f"{bad}/{len(here)} BAD"


def _complaints(cases: Sequence[Case]) -> list[str]:
    found = []
    for case in cases:
        at = case.passage
        where = f"{case.saga_name} killed at {at.point} #{at.nth} ({at.direction} {at.step}, {case.scope}) [{case.execution_id}]"
        found += [f"{violation.kind}: {where}: {violation.text}" for violation in case.violations]
        found += [] if case.fell else [f"nobody died: {where}: it passed {', '.join(case.passed) or 'it nowhere'}"]
    return found
