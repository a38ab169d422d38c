"""How busy topics are, and which of them nobody durable wants. A figure for people: a crash may lose or double a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from django.db.models import F

from hub.events.intake import Taken
from hub.events.models import Topic

MAX_TOPICS = 10_000
"""Publishers choose topics; beyond this many, new ones are not listed."""


def count(taken: Sequence[Taken]) -> None:
    """Add a batch of events to the figures of their topics."""
    events = Counter(one.event.topic for one in taken)
    unwanted = Counter(one.event.topic for one in taken if not one.subscribers)
    now = datetime.now(UTC)
    for topic, number in sorted(events.items()):
        changes = {"events": F("events") + number, "unwanted": F("unwanted") + unwanted[topic], "last_at": now}
        if not Topic.objects.filter(name=topic).update(**changes):
            _add(topic, number, unwanted[topic], now)


def _add(topic: str, events: int, unwanted: int, now: datetime) -> None:
    if Topic.objects.count() < MAX_TOPICS:
        row = Topic(name=topic, events=events, unwanted=unwanted, last_at=now)
        Topic.objects.bulk_create([row], ignore_conflicts=True)
