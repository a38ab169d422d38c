"""Two traces of the same work side by side: what took longer, what came in addition, what is missing (pure)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hub.telemetry.values import TraceSpan


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A kind of span in both traces: how many, how many failed, and how long all of them took, in milliseconds."""

    name: str
    service: str
    count: int
    good_count: int
    errors: int
    took_ms: float
    good_ms: float

    @property
    def more_ms(self) -> float:
        """Return how much longer it took than in the good one."""
        return self.took_ms - self.good_ms

    @property
    def verdict(self) -> str:
        """Return what is to be said of it, the worst first."""
        if self.errors:
            return "failed"
        if not self.good_count:
            return "only here"
        if not self.count:
            return "missing here"
        return "slower" if self.more_ms > max(self.good_ms * 0.5, 5.0) else "alike"


_WORST_FIRST = ("failed", "missing here", "only here", "slower", "alike")


def compare(spans: Sequence[TraceSpan], good: Sequence[TraceSpan]) -> list[Difference]:
    """Return the kinds of spans of both, those that differ most first."""
    here, there = _kinds(spans), _kinds(good)
    found = [_difference(kind, here.get(kind, []), there.get(kind, [])) for kind in {**here, **there}]
    return sorted(found, key=lambda one: (_WORST_FIRST.index(one.verdict), -abs(one.more_ms), one.name))


def _kinds(spans: Sequence[TraceSpan]) -> dict[tuple[str, str], list[TraceSpan]]:
    found = defaultdict(list)
    for span in spans:
        found[span.span_name, span.service_name or ""].append(span)
    return dict(found)


def _difference(kind: tuple[str, str], here: Sequence[TraceSpan], there: Sequence[TraceSpan]) -> Difference:
    return Difference(
        name=kind[0],
        service=kind[1],
        count=len(here),
        good_count=len(there),
        errors=sum(span.status == "error" for span in here),
        took_ms=sum(map(_took_ms, here)),
        good_ms=sum(map(_took_ms, there)),
    )


def _took_ms(span: TraceSpan) -> float:
    if isinstance(span.start, datetime) and isinstance(span.end, datetime):
        return (span.end - span.start).total_seconds() * 1000
    return 0.0
