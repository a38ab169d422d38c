"""Minutes of traffic as small bars: how much, how much of it failed, how long it took (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MINUTES = 30
HEIGHT = 48.0
STEP = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A request that ended `ago_sec` seconds ago."""

    ago_sec: float
    is_ok: bool
    duration_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Minute:
    """One minute as drawn: the good part stands on the bad one."""

    x: float
    good_y: float
    good: float
    bad_y: float
    bad: float
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulse:
    """The last half hour; `is_cut` when there was more than was read."""

    calls: int
    failed: int
    per_minute: float
    p50_ms: float | None
    p95_ms: float | None
    minutes: tuple[Minute, ...]
    is_cut: bool


def of(calls: Sequence[Call], *, is_cut: bool) -> Pulse:
    """Return the pulse of the calls of the last half hour."""
    recent = [call for call in calls if 0 <= call.ago_sec < MINUTES * 60]
    span_min = min(float(MINUTES), max((call.ago_sec for call in recent), default=0.0) / 60 or 1.0) if is_cut else float(MINUTES)
    durations = sorted(call.duration_ms for call in recent)
    return Pulse(
        calls=len(recent),
        failed=sum(not call.is_ok for call in recent),
        per_minute=len(recent) / span_min,
        p50_ms=_percentile(durations, 0.50),
        p95_ms=_percentile(durations, 0.95),
        minutes=_minutes(recent),
        is_cut=is_cut,
    )


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def _minutes(calls: Sequence[Call]) -> tuple[Minute, ...]:
    good, bad = [0] * MINUTES, [0] * MINUTES
    for call in calls:
        (good if call.is_ok else bad)[MINUTES - 1 - int(call.ago_sec // 60)] += 1
    unit = HEIGHT / max(1, *(g + b for g, b in zip(good, bad, strict=True)))
    return tuple(_minute(place, g, b, unit) for place, (g, b) in enumerate(zip(good, bad, strict=True)))


def _minute(place: int, good: int, bad: int, unit: float) -> Minute:
    bad_height, good_height = round(bad * unit, 1), round(good * unit, 1)
    bad_y = round(HEIGHT - bad_height, 1)
    title = f"{MINUTES - 1 - place} min ago: {good + bad} requests, {bad} failed"
    return Minute(x=place * STEP, good_y=round(bad_y - good_height, 1), good=good_height, bad_y=bad_y, bad=bad_height, title=title)
