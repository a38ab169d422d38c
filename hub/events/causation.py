"""What an event led to: the events that name it as their cause, theirs in turn, and the work of the same traces.

Only events that somebody durable wants are stored, so a chain may have holes. Rooms above the bus say how to find
their work by trace: `add_source("saga", find)`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hub.events.messages import MAX_HOPS
from hub.events.models import Event

MAX_EVENTS, MAX_EFFECTS = 200, 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """Work that belongs to a trace: a request, a saga."""

    title: str
    url: str
    trace_id: str


Source = Callable[[Sequence[str], int], list[Effect]]
"""Takes trace ids and a limit, returns the oldest work of these traces."""
_sources: dict[str, Source] = {}


def add_source(kind: str, find: Source) -> None:
    """Let the graph show work of `kind`, found by its trace."""
    _sources[kind] = find


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """An event and the events it caused, oldest first."""

    event: Event
    is_asked: bool
    caused: list[Node] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """The tree of causes around one event, and the work of its traces by kind.

    `unknown_cause` names an event above the root that is not stored; `is_cut` says that more events follow, and `cut_kinds`
    of which kinds there is more work.
    """

    root: Node
    count: int
    is_cut: bool
    unknown_cause: str
    effects: dict[str, list[Effect]]
    cut_kinds: list[str]


def graph(event: Event) -> Graph:
    """Return what led to `event` and what it led to: at most 200 events and 50 pieces of work of each kind."""
    root = _first_cause(event)
    stored, is_cut = _caused_by(root)
    children: dict[str, list[Event]] = defaultdict(list)
    for one in stored[1:]:
        children[one.causation_id].append(one)
    traces = sorted({one.trace_id for one in stored if one.trace_id})
    found = {kind: find(traces, MAX_EFFECTS + 1) if traces else [] for kind, find in sorted(_sources.items())}
    return Graph(
        root=_node(root, children, asked=event.pk),
        count=len(stored),
        is_cut=is_cut,
        unknown_cause=root.causation_id,
        effects={kind: work[:MAX_EFFECTS] for kind, work in found.items()},
        cut_kinds=[kind for kind, work in found.items() if len(work) > MAX_EFFECTS],
    )


def _first_cause(event: Event) -> Event:
    """Walk up to the earliest stored cause; the hop limit bounds the way, also when ids go round in a circle."""
    for _ in range(MAX_HOPS):
        above = Event.objects.filter(event_id=event.causation_id).first() if event.causation_id else None
        if above is None:
            break
        event = above
    return event


def _caused_by(root: Event) -> tuple[list[Event], bool]:
    """Return `root` and what it led to, level by level with one query each, and whether there is more."""
    found, level = {root.event_id: root}, [root.event_id]
    while level:
        room = MAX_EVENTS - len(found)
        # The index leaves out events without a cause, and is used only by a query that says so too.
        caused = Event.objects.filter(causation_id__in=level).exclude(causation_id="").exclude(event_id__in=list(found))
        fresh = list(caused.defer("body").order_by("id")[: room + 1])
        found |= {one.event_id: one for one in fresh[:room]}
        if len(fresh) > room:
            return list(found.values()), True
        level = [one.event_id for one in fresh]
    return list(found.values()), False


def _node(event: Event, children: dict[str, list[Event]], *, asked: int) -> Node:
    below = [_node(one, children, asked=asked) for one in children.pop(event.event_id, [])]
    return Node(event=event, is_asked=event.pk == asked, caused=below)
