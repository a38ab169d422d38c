"""The last probes of an instance as small drawings: verdicts as bars, times as a line (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WORDS = {"g": "good", "s": "slow", "b": "bad", "-": "silent"}
SHOWN = 60
STEP = 5.0
HEIGHT = 40.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One verdict; `kind` is its word."""

    x: float
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sparkline:
    """Times of the last probes: the points of a line, and the figures in milliseconds."""

    points: str
    last_ms: float
    p50_ms: float
    highest_ms: float


def tracker(verdicts: str) -> list[Bar]:
    """Return the last sixty verdicts, the newest at the right."""
    shown = verdicts[-SHOWN:]
    return [Bar(x=(SHOWN - len(shown) + place) * STEP, kind=WORDS.get(letter, "silent")) for place, letter in enumerate(shown)]


def sparkline(times_ms: Sequence[float]) -> Sparkline | None:
    """Return the times as a line from left to right, or None when there are none."""
    shown = list(times_ms[-SHOWN:])
    if not shown:
        return None
    top = max(max(shown), 0.001)
    points = ((place * STEP, HEIGHT - time / top * (HEIGHT - 2) - 1) for place, time in enumerate(shown, start=SHOWN - len(shown)))
    return Sparkline(
        points=" ".join(f"{x:g},{y:.1f}" for x, y in points),
        last_ms=shown[-1],
        p50_ms=sorted(shown)[len(shown) // 2],
        highest_ms=max(shown),
    )
