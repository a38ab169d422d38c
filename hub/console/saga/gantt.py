"""A saga's moves as bars over time: attempts, waits, queues and undos, one row for each step (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["done", "failed", "unknown", "running", "wait", "queue", "undone", "undo_failed", "undoing"]
FORWARD = frozenset({"done", "failed", "unknown", "running"})
UNDO = frozenset({"undone", "undo_failed", "undoing"})

_AFTER_RUNNING: dict[str, Kind] = {"completed": "done", "unknown": "unknown", "": "running"}
_AFTER_UNDOING: dict[str, Kind] = {"compensated": "undone", "": "undoing"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """One move of a step; `at` is in seconds."""

    step_id: str
    at: float
    old: str
    new: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """What a step was busy with, from `start` to `end` in seconds; `ended` says how that came out."""

    row: int
    kind: Kind
    start: float
    end: float
    label: str = ""
    ended: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrow:
    """From an undo to the attempt whose effect it takes back."""

    undo: Bar
    undoes: Bar


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Bars in rows; row 0 is the first of `steps`."""

    steps: tuple[str, ...]
    bars: tuple[Bar, ...]
    arrows: tuple[Arrow, ...]


def chart(steps: Sequence[str], moves: Sequence[Move], *, ready_at: Sequence[float], now: float) -> Chart:
    """Return the chart of a run; what has not ended reaches to `now`.

    `ready_at` are the moments from which a worker could take it: when it was accepted, and when a person sent it on.
    """
    rows = {step_id: row for row, step_id in enumerate(steps)}
    real = [move for move in moves if move.step_id in rows and move.old != move.new]
    bars = [bar for step_id, row in rows.items() for bar in _bars(row, [m for m in real if m.step_id == step_id], now)]
    queued = _queues(bars, ready_at)
    return Chart(steps=tuple(steps), bars=(*queued, *bars), arrows=tuple(_arrows(bars)))


def _bars(row: int, moves: Sequence[Move], now: float) -> Iterator[Bar]:
    """Give a bar for each status that takes time; what came next says how it ended."""
    for place, move in enumerate(moves):
        following = moves[place + 1] if place + 1 < len(moves) else None
        kind = _kind(move.new, following.new if following else "")
        if kind is not None:
            end, ended = (following.at, following.reason or following.new) if following else (now, "not over yet")
            yield Bar(row=row, kind=kind, start=move.at, end=max(move.at, end), label=_label(move, kind), ended=ended)


def _kind(during: str, after: str) -> Kind | None:
    if during == "running":
        return _AFTER_RUNNING.get(after, "failed")
    if during == "compensating":
        return _AFTER_UNDOING.get(after, "undo_failed")
    return "wait" if during == "waiting" else None


def _label(move: Move, kind: Kind) -> str:
    if kind in UNDO:
        return "undo"
    number = move.reason.removeprefix("attempt ")
    if kind == "wait":
        return ""
    return number if number.isdigit() else "?"  # asked whether it happened


def _queues(bars: Sequence[Bar], ready_at: Sequence[float]) -> list[Bar]:
    """Show what passed between the end of one thing and the begin of the next: time in a queue."""
    ends = [*ready_at, *(bar.end for bar in bars)]
    waits = []
    for bar in bars:
        if bar.kind == "wait":
            continue
        ready = max((end for end in ends if end <= bar.start), default=bar.start)
        if ready < bar.start:
            waits.append(Bar(row=bar.row, kind="queue", start=ready, end=bar.start, ended="picked up"))
    return waits


def _arrows(bars: Sequence[Bar]) -> Iterator[Arrow]:
    for undo in (bar for bar in bars if bar.kind in UNDO):
        tried = [bar for bar in bars if bar.row == undo.row and bar.kind in FORWARD and bar.end <= undo.start]
        if tried:
            yield Arrow(undo=undo, undoes=max(tried, key=lambda bar: bar.end))
