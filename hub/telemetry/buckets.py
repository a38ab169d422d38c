"""Histogram arithmetic: which bucket a value falls into, and what a percentile is (pure)."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 300, 1800)
BYTES = (256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304)
PLAIN = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)


def bounds_for(name: str) -> tuple[float, ...]:
    """Return the upper bounds of a histogram's buckets; its unit is the end of its name, as Prometheus asks."""
    if name.endswith("_seconds"):
        return SECONDS
    return BYTES if name.endswith("_bytes") else PLAIN


def bucket_of(value: float, bounds: Sequence[float]) -> int:
    """Return the index of the first bucket whose upper bound is not below `value`; ``len(bounds)`` is +Inf."""
    return bisect_left(bounds, value)


def percentile(share: float, counts: Sequence[int], bounds: Sequence[float]) -> float | None:
    """Return the value below which `share` (0..1) of the observations lie, or None without any.

    Linear inside a bucket, as Prometheus' ``histogram_quantile``; beyond the last bound it is that bound.
    """
    total = sum(counts)
    if total == 0:
        return None
    wanted, seen = share * total, 0
    for index, count in enumerate(counts):
        if count and seen + count >= wanted:
            return _inside(index, (wanted - seen) / count, bounds)
        seen += count
    return float(bounds[-1])


def _inside(index: int, share: float, bounds: Sequence[float]) -> float:
    if index >= len(bounds):
        return float(bounds[-1])
    low = bounds[index - 1] if index else 0.0
    return math.fsum([low, (bounds[index] - low) * share])
