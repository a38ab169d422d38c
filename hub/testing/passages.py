"""Which kills a saga needs: every passage of a crash point in an undisturbed run, read from its trace (pure)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from hub.testing.values import Passage

_Mark = tuple[str, str]
_UNKNOWN: _Mark = ("-", "-")


def read(trace: str, step_ids: Sequence[str]) -> list[Passage]:
    """Return the passages in order; `trace` has one line ``point direction step`` each, ``-`` where a point cannot know.

    A commit or a send that does not know its step belongs to the next one named, anything else to the last one. The steps
    of a child saga (``+0``) come between those of its parent.
    """
    lines = [(point, (direction, index)) for point, direction, index in (line.split() for line in trace.splitlines())]
    marks = _fill([point for point, _ in lines], [mark for _, mark in lines])
    positions = _positions(marks)
    count = Counter[tuple[str, _Mark]]()
    found = []
    for (point, told), mark in zip(lines, marks, strict=True):
        count[point, told] += 1
        place, nth, step = " ".join(told), count[point, told], _named(mark[1], step_ids)
        found.append(Passage(point=point, place=place, nth=nth, direction=mark[0], step=step, position=positions.get(mark, "")))
    return found


def _named(index: str, step_ids: Sequence[str]) -> str:
    """Return the step's id; a step of a child saga goes by its number there."""
    if index == "-":
        return ""
    return f"child's {index.removeprefix('+')}" if index.startswith("+") else step_ids[int(index)]


def _fill(points: Sequence[str], marks: Sequence[_Mark]) -> list[_Mark]:
    return [mark if mark != _UNKNOWN else _of_neighbour(i, points[i], marks) for i, mark in enumerate(marks)]


def _of_neighbour(i: int, point: str, marks: Sequence[_Mark]) -> _Mark:
    before = [mark for mark in reversed(marks[:i]) if mark != _UNKNOWN]
    after = [mark for mark in marks[i + 1 :] if mark != _UNKNOWN]
    ahead = point.startswith(("chain.", "saga.", "lock.", "accept.", "signal."))
    return next(iter(after + before if ahead else before + after), _UNKNOWN)


def _positions(marks: Sequence[_Mark]) -> dict[_Mark, str]:
    by_direction: dict[str, list[_Mark]] = defaultdict(list)
    for mark in marks:
        if mark != _UNKNOWN and mark not in by_direction[mark[0]]:
            by_direction[mark[0]].append(mark)
    named = {}
    for steps in by_direction.values():
        named[steps[len(steps) // 2]] = "middle"
        named[steps[-1]], named[steps[0]] = "last", "first"
    return named
