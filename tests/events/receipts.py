"""Judge a run from what the publisher was told and what each subscriber kept, not from the hub's own word (pure).

E1: every acknowledged event that a subscription wants was received or is a dead letter, and nothing else was received.
E2: what comes more than once is counted. E3: an event is a dead letter of a subscription at most once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Violations as texts, and how many events came more often than once."""

    violations: list[str] = field(default_factory=list)
    doubled: Mapping[str, int] = field(default_factory=dict)


def judge(
    *,
    wanted: Mapping[str, Collection[str]],
    received: Iterable[tuple[str, str]],
    dead: Iterable[tuple[str, str]],
    poison: Mapping[str, Collection[str]],
) -> Verdict:
    """Return what is wrong: `wanted` are acknowledged event ids per subscription, `received` and `dead` pairs of both.

    `poison` are the ids that a subscription always refuses: they, and no others, must be dead letters.
    """
    got: dict[str, Counter[str]] = {name: Counter() for name in wanted}
    for name, event_id in received:
        got[name][event_id] += 1
    letters, found, doubled = Counter(dead), [], {}
    for name, ids in wanted.items():
        dead_here = {event_id for subscriber, event_id in letters if subscriber == name}
        refused = set(poison.get(name, ()))
        found += _named("E1 lost", name, set(ids) - set(got[name]) - dead_here)
        found += _named("E1 never published", name, (set(got[name]) | dead_here) - set(ids))
        found += _named("E1 refused and no dead letter", name, refused - dead_here)
        found += _named("E1 accepted and yet a dead letter", name, (dead_here & set(got[name])) - refused)
        doubled[name] = sum(count - 1 for event_id, count in got[name].items() if event_id not in refused)
    found += [f"E3 {count} dead letters of {event_id} for {name}" for (name, event_id), count in letters.items() if count > 1]
    return Verdict(violations=found, doubled=doubled)


def _named(what: str, name: str, ids: Collection[str]) -> list[str]:
    return [f"{what}: {len(ids)} of {name}, such as {min(ids)}"] if ids else []


def read(text: str) -> list[tuple[str, str]]:
    """Return the receipts of a file: one line each, the subscriber's name and the event's id."""
    return [(line.split()[0], line.split()[1]) for line in text.splitlines()]
