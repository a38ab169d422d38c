from datetime import UTC, datetime, timedelta

import pytest

from hub.telemetry import retention, store
from hub.telemetry.ids import new_trace_id
from hub.telemetry.models import Span
from hub.telemetry.sampling import is_sampled
from hub.telemetry.values import TraceSpan

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 1, 10, tzinfo=UTC)


def stored(*, ago, trace_id=None, **values):
    start = NOW - ago
    span = TraceSpan("x", "s", trace_id=trace_id or new_trace_id(), start=start, end=values.pop("end", start), **values)
    store.write([span])
    return span


def hub(settings, **changes):
    settings.HUB = settings.HUB.model_copy(update=changes)


def test_spans_beyond_their_retention_go():
    stored(ago=timedelta(days=8))
    young = stored(ago=timedelta(days=6))

    assert retention.prune(now=NOW)["expired"] == 1
    assert Span.objects.get().span_id == young.span_id


def test_of_unremarkable_traces_a_share_is_kept_and_remarkable_ones_whole(settings):
    hub(settings, trace_sample_ratio=0.5)
    plain = [stored(ago=timedelta(minutes=90)) for _ in range(100)]
    failed = stored(ago=timedelta(minutes=90), status="error")
    beside = stored(ago=timedelta(minutes=90), trace_id=failed.trace_id)
    slow = stored(ago=timedelta(minutes=90), end=NOW)
    recent = stored(ago=timedelta(minutes=30), trace_id="ff" * 16)

    retention.prune(now=NOW)

    kept = set(Span.objects.values_list("span_id", flat=True))
    assert {failed.span_id, beside.span_id, slow.span_id, recent.span_id} <= kept
    assert {one.span_id for one in plain} & kept == {one.span_id for one in plain if is_sampled(one.trace_id, 0.5)}


def test_the_quota_takes_the_oldest_unremarkable_first(settings):
    hub(settings, trace_max_spans_per_day=3)
    spans = [stored(ago=timedelta(hours=hours)) for hours in range(1, 6)]
    failed = stored(ago=timedelta(hours=20), status="error")

    retention.prune(now=NOW)

    assert Span.objects.filter(span_id=failed.span_id).exists()
    assert not Span.objects.filter(span_id=spans[-1].span_id).exists()


@pytest.mark.parametrize(
    ("trace_id", "ratio", "expected"),
    [("0" * 31 + "1", 0.01, True), ("f" * 32, 0.99, False), ("f" * 32, 1, True), ("0" * 31 + "1", 0, False)],
)
def test_the_share_is_decided_by_the_trace_id(trace_id, ratio, expected):
    assert is_sampled(trace_id, ratio) is expected
