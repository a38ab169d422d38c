"""How long what happened is kept, and how far behind the relay may fall before it says so."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef

from hub import pruning
from hub.events import positions, stream
from hub.events.models import DeadLetter, Delivery, Event, ReplayRun, Subscription, Topic
from hub.redis_client import client
from hub.telemetry import metric_store, metrics
from hub.telemetry.series import OTHER

log = logging.getLogger(__name__)
OLDEST = "hub_subscription_oldest_seconds"
BEHIND_SEC = 60.0
"""An event that waits this long for the relay is an alarm."""


def expired(*, now: datetime | None = None) -> pruning.Expired:
    """Return what is finished and older than the retention."""
    before = (now or datetime.now(UTC)) - timedelta(days=settings.HUB.event_retention_days)
    letters = DeadLetter.objects.filter(decided_at__lt=before).exclude(status__in=[DeadLetter.Status.OPEN, DeadLetter.Status.REPLAYED])
    open_letter = DeadLetter.objects.filter(delivery=OuterRef("pk"))
    wanted = Delivery.objects.filter(event=OuterRef("pk"))
    edited = DeadLetter.objects.filter(event=OuterRef("pk"))
    return {
        "dead_letters": letters.order_by("pk"),
        "deliveries": Delivery.objects.filter(~Exists(open_letter), finished_at__lt=before).order_by("pk"),
        "events": Event.objects.filter(~Exists(wanted), ~Exists(edited), created_at__lt=before).order_by("pk"),
        "topics": Topic.objects.filter(last_at__lt=before).order_by("pk"),
        "replay_runs": ReplayRun.objects.filter(ended_at__lt=before).order_by("pk"),
    }


def prune(*, now: datetime | None = None) -> dict[str, int]:
    """Delete what is finished and older than the retention; returns counts per table."""
    return pruning.delete_all(expired(now=now))


def trim_stream(*, taken_over: str, now: datetime) -> None:
    """Drop from the stream what is older than the retention and taken over; `taken_over` is a stream id."""
    by_age = positions.at(now - timedelta(days=settings.HUB.event_retention_days))
    oldest_kept = min(by_age, taken_over, key=positions.sortable)
    # To the entry: Redis' own measure is a hundred, which a quiet hub publishes in months. By then the rows that say who had
    # them are gone, and a replay would give them out again.
    client().xtrim(stream.STREAM, minid=oldest_kept, approximate=False)


def watch(*, unread: int, oldest_unread: str | None, now: datetime) -> None:
    """Publish how far the relay and the subscriptions are behind."""
    age_sec = max(0.0, (now - positions.moment_of(oldest_unread)).total_seconds()) if oldest_unread else 0.0
    metrics.set_gauge("hub_events_unread", unread)
    metrics.set_gauge("hub_events_oldest_unread_seconds", age_sec)
    if age_sec > BEHIND_SEC:
        log.warning("events wait for the relay", extra={"code": "E11141", "unread": unread, "oldest_sec": round(age_sec)})
    metrics.set_gauge("hub_dead_letters_open", DeadLetter.objects.filter(status=DeadLetter.Status.OPEN).count())
    oldest = oldest_open(now=now)
    for name, seconds in oldest.items():
        metrics.set_gauge(OLDEST, seconds, subscription=name)
    metric_store.drop_series(OLDEST, lambda labels: labels.get("subscription") not in {*oldest, OTHER})


def oldest_open(*, now: datetime) -> dict[str, float]:
    """Return for each subscription how many seconds its oldest open delivery has waited, 0 when none is open."""
    rows = Delivery.objects.filter(subscription=OuterRef("pk"), finished_at=None)
    oldest = rows.order_by("position").values("created_at")[:1]
    found = Subscription.objects.annotate(oldest=oldest).values_list("name", "oldest")
    return {name: 0.0 if created is None else max(0.0, (now - created).total_seconds()) for name, created in found}
