"""What is wrong with the spans of a trace, in words: a trace is one tree, of valid ids, in the order of time (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hub.telemetry import context
from hub.telemetry.values import TraceSpan

CLOCK_TOLERANCE_SEC = 0.005
"""Two processes of one machine read the clock in another order than they act; microseconds are rounded."""


def tree_problems(spans: Sequence[TraceSpan], *, remote_parent: str = "") -> list[str]:
    """Return what keeps `spans` from being one tree; empty when they are one.

    `remote_parent` is the span id that the caller's own ``traceparent`` named: it is not among the spans, and then stands
    for the root.
    """
    if not spans:
        return ["no spans"]
    by_id = {span.span_id: span for span in spans}
    return [
        *_bad_ids(spans),
        *_doubles(spans),
        *_roots(spans, remote_parent),
        *(f"{span.span_name}: its parent {span.parent_span_id} is not there" for span in _orphans(spans, by_id, remote_parent)),
        *_circles(spans, by_id),
        *_before_their_parents(spans, by_id),
        *_dangling_links(spans, by_id),
    ]


def _bad_ids(spans: Iterable[TraceSpan]) -> list[str]:
    trace_ids = {span.trace_id for span in spans}
    found = [f"{one}: not a trace id" for one in trace_ids if not context.is_trace_id(one)]
    found += [f"{span.span_name}: {span.span_id!r} is no span id" for span in spans if not context.is_span_id(span.span_id)]
    return found + ([f"{len(trace_ids)} trace ids"] if len(trace_ids) > 1 else [])


def _doubles(spans: Sequence[TraceSpan]) -> list[str]:
    ids = [span.span_id for span in spans]
    return [f"{one}: the id of {ids.count(one)} spans" for one in set(ids) if ids.count(one) > 1]


def _roots(spans: Iterable[TraceSpan], remote_parent: str) -> list[str]:
    roots = [span.span_name for span in spans if not span.parent_span_id]
    wanted = 0 if remote_parent else 1
    return [] if len(roots) == wanted else [f"{len(roots)} spans without a parent, not {wanted}: {', '.join(sorted(roots))}"]


def _orphans(spans: Iterable[TraceSpan], by_id: Mapping[str, TraceSpan], remote_parent: str) -> list[TraceSpan]:
    return [span for span in spans if span.parent_span_id and span.parent_span_id not in {*by_id, remote_parent}]


def _circles(spans: Iterable[TraceSpan], by_id: Mapping[str, TraceSpan]) -> list[str]:
    return [f"{span.span_name}: among its own ancestors" for span in spans if _is_in_circle(span, by_id)]


def _is_in_circle(span: TraceSpan, by_id: Mapping[str, TraceSpan]) -> bool:
    seen: set[str] = set()
    above = by_id.get(span.parent_span_id)
    while above is not None and above.span_id not in seen:
        if above.span_id == span.span_id:
            return True
        seen.add(above.span_id)
        above = by_id.get(above.parent_span_id)
    return False


def _before_their_parents(spans: Iterable[TraceSpan], by_id: Mapping[str, TraceSpan]) -> list[str]:
    found = []
    for span in spans:
        parent = by_id.get(span.parent_span_id)
        early_sec = (parent.start - span.start).total_seconds() if parent is not None else 0.0
        if parent is not None and early_sec > CLOCK_TOLERANCE_SEC:
            found.append(f"{span.span_name}: began {early_sec * 1000:.1f} ms before its parent {parent.span_name}")
    return found


def _dangling_links(spans: Iterable[TraceSpan], by_id: Mapping[str, TraceSpan]) -> list[str]:
    pairs = [(span, context.parse(link)) for span in spans for link in span.links]
    here = [(span, to) for span, to in pairs if to is not None and to.trace_id == span.trace_id]
    return [f"{span.span_name}: links to {to.span_id}, which is not there" for span, to in here if to.span_id not in by_id]
