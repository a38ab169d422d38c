"""The spans of a trace as a tree, in rows one under another, with what decided how long it took (pure)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hub.telemetry import context
from hub.telemetry.context import TraceContext
from hub.telemetry.values import TraceSpan

MAX_DEPTH = 60
INDENT, DEEPEST = 2.5, 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One span: `left` and `width` are per cent of the trace's time; `is_orphan`: its parent is not stored.

    `began_ms` counts from the begin of the trace; `below` and `errors_below` count the shown spans under this one.
    """

    span: TraceSpan
    depth: int
    left: float
    width: float
    began_ms: float
    duration_ms: float
    is_critical: bool
    is_orphan: bool
    below: int = 0
    errors_below: int = 0

    @property
    def indent(self) -> float:
        """Return where the name begins, in per cent of the room for it; very deep ones stand under each other."""
        return min(self.depth * INDENT, DEEPEST)

    @property
    def links(self) -> list[TraceContext]:
        """Return the spans that this one links to: what an undo takes back, what a rescue goes on with."""
        return [found for found in map(context.parse, self.span.links) if found is not None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Waterfall:
    """The rows in the order of the tree, and what was left out by the filter."""

    rows: tuple[Row, ...]
    duration_ms: float
    services: tuple[str, ...]
    errors: int
    left_out: int


def build(spans: Sequence[TraceSpan], *, keep: Callable[[TraceSpan], bool] = lambda span: True) -> Waterfall:
    """Return the waterfall of a trace; a span that `keep` refuses stays if something below it is kept."""
    if not spans:
        return Waterfall(rows=(), duration_ms=0.0, services=(), errors=0, left_out=0)
    began, ended = min(_start(span) for span in spans), max(_end(span) for span in spans)
    whole = max(ended - began, 1e-6)
    order = list(_in_order(spans))
    critical = _critical(spans, order)
    kept = _with_ancestors(spans, [span for span in spans if keep(span)])
    known = {span.span_id for span in spans}
    rows = [
        Row(
            span=span,
            depth=depth,
            left=round((_start(span) - began) / whole * 100, 2),
            width=round(max((_end(span) - _start(span)) / whole * 100, 0.15), 2),
            began_ms=(_start(span) - began) * 1000,
            duration_ms=(_end(span) - _start(span)) * 1000,
            is_critical=span.span_id in critical,
            is_orphan=bool(span.parent_span_id) and span.parent_span_id not in known,
        )
        for span, depth in order
        if span.span_id in kept
    ]
    return Waterfall(
        rows=tuple(_with_what_lies_below(rows)),
        duration_ms=whole * 1000,
        services=tuple(sorted({span.service_name for span in spans if span.service_name})),
        errors=sum(span.status == "error" for span in spans),
        left_out=len(order) - len(rows),
    )


def _with_what_lies_below(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the counts of what can be folded under each: the deeper rows that follow it."""
    open_ones = list[int]()
    below, errors = [0] * len(rows), [0] * len(rows)
    for place, row in enumerate(rows):
        while open_ones and rows[open_ones[-1]].depth >= row.depth:
            open_ones.pop()
        for above in open_ones:
            below[above] += 1
            errors[above] += row.span.status == "error"
        open_ones.append(place)
    return [replace(row, below=n, errors_below=bad) for row, n, bad in zip(rows, below, errors, strict=True)]


def _start(span: TraceSpan) -> float:
    return span.start.timestamp() if isinstance(span.start, datetime) else 0.0


def _end(span: TraceSpan) -> float:
    return span.end.timestamp() if isinstance(span.end, datetime) else _start(span)


def _children(spans: Sequence[TraceSpan]) -> dict[str, list[TraceSpan]]:
    """Return the spans by parent, in order of start; those whose parent is not there are under the empty id."""
    known = {span.span_id for span in spans}
    found = defaultdict(list)
    for span in sorted(spans, key=_start):
        parent = span.parent_span_id or ""
        found[parent if parent in known and parent != span.span_id else ""].append(span)
    return found


def _in_order(spans: Sequence[TraceSpan]) -> Iterator[tuple[TraceSpan, int]]:
    """Give each span under its parent; spans that name each other as parents in a ring come last."""
    children, seen = _children(spans), set[str]()
    stack = [(span, 0) for span in reversed(children[""])]
    while stack:
        span, depth = stack.pop()
        seen.add(span.span_id)
        yield span, depth
        stack += [(child, min(depth + 1, MAX_DEPTH)) for child in reversed(children.get(span.span_id, [])) if child.span_id not in seen]
    for span in spans:
        if span.span_id not in seen:
            yield span, 0


def _critical(spans: Sequence[TraceSpan], order: Sequence[tuple[TraceSpan, int]]) -> set[str]:
    """Return the chain of spans under which the work ended last: what to shorten if the whole is to be shorter.

    A message's span has ended long before what it set off, so what counts is when the last span below it ended.
    """
    children, ends = _children(spans), _ends_below(order)
    path: set[str] = set()
    level = children[""]
    while level:
        last = max(level, key=lambda span: ends[span.span_id])
        if last.span_id in path:
            break
        path.add(last.span_id)
        level = children.get(last.span_id, [])
    return path


def _ends_below(order: Sequence[tuple[TraceSpan, int]]) -> dict[str, float]:
    """Return when each span and all below it had ended; children come after their parents in `order`."""
    ends: dict[str, float] = {}
    for span, _ in reversed(order):
        ends[span.span_id] = max(_end(span), ends.get(span.span_id, 0.0))
        parent = span.parent_span_id or ""
        ends[parent] = max(ends[span.span_id], ends.get(parent, 0.0))
    return ends


def _with_ancestors(spans: Sequence[TraceSpan], kept: Sequence[TraceSpan]) -> set[str]:
    parents = {span.span_id: span.parent_span_id or "" for span in spans}
    found: set[str] = set()
    for span in kept:
        at = span.span_id
        while at and at not in found:
            found.add(at)
            at = parents.get(at, "")
    return found
