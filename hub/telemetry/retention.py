"""How long spans are kept: what failed, was slow or was rescued to the end, of the rest a share, and never more than a quota."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet

from hub import pruning
from hub.telemetry.models import Span
from hub.telemetry.sampling import is_sampled

BATCH = 500
MAX_BATCHES = 400
THIN_AFTER = timedelta(hours=1)
"""So long every trace is kept whole: what it was worth is known when it has ended."""
THIN_WINDOW = timedelta(hours=1)

Unfinished = Callable[[Sequence[str]], set[str]]
"""Takes trace ids, returns those whose work has not ended."""
_unfinished: list[Unfinished] = []


def add_unfinished(find: Unfinished) -> None:
    """Let a room above keep whole the traces of work that waits: that may yet fail."""
    _unfinished.append(find)


def expired(*, now: datetime | None = None) -> pruning.Expired:
    """Return the spans beyond their retention."""
    before = (now or datetime.now(UTC)) - timedelta(days=settings.HUB.trace_retention_days)
    return {"expired": Span.objects.filter(start__lt=before).order_by("start")}


def due(*, now: datetime | None = None) -> dict[str, int]:
    """Return how many spans `prune` would delete as things stand."""
    now = now or datetime.now(UTC)
    thinned = sum(Span.objects.filter(trace_id__in=some).count() for some in _in_batches(_to_be_thinned(now)))
    return {**pruning.count_all(expired(now=now)), "thinned": thinned, "over_quota": max(0, _excess(now))}


def prune(*, now: datetime | None = None) -> dict[str, int]:
    """Delete what is beyond retention, share and quota, in short transactions; returns how many spans each cost."""
    now = now or datetime.now(UTC)
    return {**pruning.delete_all(expired(now=now)), "thinned": thin(now=now), "over_quota": _enforce_quota(now=now)}


def thin(*, now: datetime) -> int:
    """Delete unremarkable traces that are not in the kept share and whose last span began between one and two hours ago."""
    return _delete_traces(_to_be_thinned(now))


def _to_be_thinned(now: datetime) -> set[str]:
    if settings.HUB.trace_sample_ratio >= 1:
        return set()
    later = Span.objects.filter(trace_id=OuterRef("trace_id"), start__gte=now - THIN_AFTER)
    window = _plain_spans().filter(~Exists(later), start__gte=now - THIN_AFTER - THIN_WINDOW, start__lt=now - THIN_AFTER)
    found = [one for one in _trace_ids(window) if not is_sampled(one, settings.HUB.trace_sample_ratio)]
    return set(found) - {one for some in _in_batches(found) for find in _unfinished for one in find(some)}


def _enforce_quota(*, now: datetime) -> int:
    """Delete the oldest traces of the last day until it is within HUB_TRACE_MAX_SPANS_PER_DAY: remarkable ones when no others are left."""
    excess, removed = _excess(now), 0
    for spans in (_plain_spans(), Span.objects.all()):
        removed += _delete_oldest(spans.filter(start__gte=now - timedelta(days=1)), excess - removed)
    return removed


def _delete_oldest(spans: QuerySet[Span], excess: int) -> int:
    removed = 0
    for _ in range(MAX_BATCHES):
        oldest = spans.order_by("start").values_list("trace_id", flat=True)[: min(BATCH, max(0, excess - removed))]
        some = list(dict.fromkeys(oldest))
        if not some:
            break
        removed += _delete_traces(some)
    return removed


def _excess(now: datetime) -> int:
    return Span.objects.filter(start__gte=now - timedelta(days=1)).count() - settings.HUB.trace_max_spans_per_day


def _plain_spans() -> QuerySet[Span]:
    """Return spans of traces in which nothing is marked to be kept."""
    return Span.objects.filter(~Exists(Span.objects.filter(trace_id=OuterRef("trace_id"), kept=True)))


def _trace_ids(spans: QuerySet[Span]) -> Iterable[str]:
    return spans.order_by().values_list("trace_id", flat=True).distinct().iterator(chunk_size=2_000)


def _delete_traces(trace_ids: Iterable[str]) -> int:
    return sum(Span.objects.filter(trace_id__in=some).delete()[0] for some in _in_batches(trace_ids))


def _in_batches(trace_ids: Iterable[str]) -> Iterator[list[str]]:
    pending = list(trace_ids)
    return (pending[start : start + BATCH] for start in range(0, len(pending), BATCH))
