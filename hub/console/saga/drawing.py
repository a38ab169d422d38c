"""A chart in SVG units: where each bar, arrow and tick lies (pure).

Time is linear, except that a long stretch in which nothing was under way is cut short and marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hub.console.saga.gantt import Arrow, Bar, Chart

WIDTH, LEFT, RIGHT = 1000.0, 170.0, 24.0
TOP, ROW, BAR = 30.0, 36.0, 16.0
MIN_BAR = 5.0
TICKS = 5
_IDLE_SHARE = 0.25
"""An idle stretch longer than this share of the busy time is cut..."""
_CUT_SHARE = 0.06
"""...to this one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A bar as drawn; `title` says the same in words."""

    kind: str
    x: float
    y: float
    width: float
    label: str
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A text at a place of the time axis; `anchor` keeps the last one within the picture."""

    x: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A row's name and the height of its text."""

    y: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """All there is to draw."""

    width: float
    height: float
    rows: tuple[Line, ...]
    boxes: tuple[Box, ...]
    paths: tuple[str, ...]
    ticks: tuple[Mark, ...]
    cuts: tuple[Mark, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stretch:
    start: float
    end: float
    x: float
    width: float
    is_cut: bool = False


def draw(chart: Chart, *, began_at: float) -> Drawing:
    """Return where everything of a chart lies."""
    scale = _scale([(bar.start, bar.end) for bar in chart.bars], began_at)
    height = TOP + ROW * len(chart.steps) + 6
    return Drawing(
        width=WIDTH,
        height=height,
        rows=tuple(Line(y=_middle(row) + 4, text=name) for row, name in enumerate(chart.steps)),
        boxes=tuple(_box(bar, scale) for bar in chart.bars),
        paths=tuple(_path(arrow, scale) for arrow in chart.arrows),
        ticks=tuple(_ticks(scale, began_at)),
        cuts=tuple(Mark(x=_r(s.x + s.width / 2), text=f"{in_words(s.end - s.start)} idle") for s in scale if s.is_cut),
    )


def _scale(spans: Sequence[tuple[float, float]], began_at: float) -> list[_Stretch]:
    """Return the stretches of time from left to right, the idle ones cut short."""
    busy = _merged([(began_at, began_at), *spans])
    total = sum(end - start for start, end in busy) or 0.001
    stretches: list[tuple[float, float, float, bool]] = []
    for place, (start, end) in enumerate(busy):
        if place:
            idle = start - busy[place - 1][1]
            cut = idle > total * _IDLE_SHARE
            stretches.append((busy[place - 1][1], start, total * _CUT_SHARE if cut else idle, cut))
        stretches.append((start, end, end - start, False))
    return _laid_out(stretches)


def _laid_out(stretches: Sequence[tuple[float, float, float, bool]]) -> list[_Stretch]:
    room = WIDTH - LEFT - RIGHT
    unit = room / (sum(weight for _, _, weight, _ in stretches) or 1)
    laid, x = [], LEFT
    for start, end, weight, cut in stretches:
        laid.append(_Stretch(start=start, end=end, x=x, width=weight * unit, is_cut=cut))
        x += weight * unit
    return laid


def _merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _x(scale: Sequence[_Stretch], at: float) -> float:
    for stretch in scale:
        if at <= stretch.end:
            length = stretch.end - stretch.start
            share = (at - stretch.start) / length if length else 0.0
            return stretch.x + stretch.width * min(1.0, max(0.0, share))
    return scale[-1].x + scale[-1].width


def _middle(row: int) -> float:
    return TOP + ROW * row + ROW / 2


def _box(bar: Bar, scale: Sequence[_Stretch]) -> Box:
    left, right = _x(scale, bar.start), _x(scale, bar.end)
    width = max(MIN_BAR if bar.kind != "queue" else 1.0, right - left)
    words = f"{_NAMES[bar.kind]}{f' {bar.label}' if bar.label.isdigit() else ''}, {in_words(bar.end - bar.start)}: {bar.ended}"
    label = bar.label if width >= 7 * len(bar.label) + 4 else ""
    return Box(kind=bar.kind, x=_r(left), y=_r(_middle(bar.row) - BAR / 2), width=_r(width), label=label, title=words)


_NAMES = {
    "done": "attempt",
    "failed": "failed attempt",
    "unknown": "attempt with unknown outcome",
    "running": "running attempt",
    "wait": "wait",
    "queue": "time in the queue",
    "undone": "undo",
    "undo_failed": "failed undo",
    "undoing": "running undo",
}


def _path(arrow: Arrow, scale: Sequence[_Stretch]) -> str:
    """Return an arc under the row, from the undo back to what it undoes."""
    start, end = _x(scale, arrow.undo.start), _x(scale, arrow.undoes.end)
    start, end = start + 2, max(end - 2, _x(scale, arrow.undoes.start) + 1)
    y = _middle(arrow.undo.row) + BAR / 2
    return f"M{_r(start)} {_r(y)} C{_r(start - 4)} {_r(y + 12)} {_r(end + 4)} {_r(y + 12)} {_r(end)} {_r(y + 2)}"


def _ticks(scale: Sequence[_Stretch], began_at: float) -> list[Mark]:
    """Mark the begin of the axis, its end, and some of the stretches between, none upon another."""
    wanted = [scale[0].start + (scale[-1].end - scale[0].start) * i / (TICKS - 1) for i in range(TICKS)]
    if any(stretch.is_cut for stretch in scale):
        wanted = [moment for stretch in scale if not stretch.is_cut for moment in (stretch.start, stretch.end)]
    marks: list[Mark] = []
    for at in wanted:
        x = _r(_x(scale, at))
        if not marks or x - marks[-1].x >= 90:
            anchor = "end" if x > WIDTH - 60 else "start"
            marks.append(Mark(x=x, text=f"+{in_words(at - began_at)}", anchor=anchor))
    return marks


def in_words(seconds: float) -> str:
    """Return a duration as a person says it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _r(value: float) -> float:
    return round(value, 1)
