from datetime import UTC, datetime, timedelta

import pytest

from hub.telemetry import retention, store
from hub.telemetry.ids import new_trace_id
from hub.telemetry.models import Span
from hub.telemetry.sampling import is_sampled
from hub.telemetry.values import TraceSpan
from sagas import services
from sagas.models import SagaExecution
from tests.console import pages

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


def test_the_quota_takes_remarkable_ones_when_no_others_are_left(settings):
    hub(settings, trace_max_spans_per_day=3)
    stored(ago=timedelta(hours=1))
    failed = [stored(ago=timedelta(hours=hours), status="error") for hours in range(2, 7)]

    assert retention.prune(now=NOW)["over_quota"] == 3

    assert set(Span.objects.values_list("span_id", flat=True)) == {one.span_id for one in failed[:3]}


def test_a_trace_that_goes_on_is_kept_whole(settings):
    hub(settings, trace_sample_ratio=0)
    first = stored(ago=timedelta(minutes=90))
    stored(ago=timedelta(minutes=10), trace_id=first.trace_id)
    ended = stored(ago=timedelta(minutes=90))

    retention.prune(now=NOW)

    assert Span.objects.filter(trace_id=first.trace_id).count() == 2
    assert not Span.objects.filter(trace_id=ended.trace_id).exists()


def test_the_trace_of_a_saga_is_kept_until_the_saga_has_ended(settings):
    hub(settings, trace_sample_ratio=0)
    run = pages.saga("approval")
    SagaExecution.objects.update(trace_id="ab" * 16)
    stored(ago=timedelta(minutes=90), trace_id="ab" * 16)
    assert retention.prune(now=NOW)["thinned"] == 0

    services.cancel(str(run.pk), reason="nobody came")

    assert retention.prune(now=NOW)["thinned"] == 1


@pytest.mark.parametrize(
    ("trace_id", "ratio", "expected"),
    [("0" * 31 + "1", 0.01, True), ("f" * 32, 0.99, False), ("f" * 32, 1, True), ("0" * 31 + "1", 0, False)],
)
def test_the_share_is_decided_by_the_trace_id(trace_id, ratio, expected):
    assert is_sampled(trace_id, ratio) is expected
