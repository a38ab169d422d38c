import asyncio
import enum
import subprocess
import sys

import pytest

from hub.errors import IntegrationError
from hub.redis_client import client
from hub.telemetry import metric_store, metrics, services, tracing
from hub.telemetry.face import Observability
from hub.telemetry.series import MAX_LOCAL_SERIES, Sample
from hub.telemetry.values import Metric
from tests.processes import hub_environment

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _empty_redis():
    client().flushdb()
    metrics.flush()
    client().flushdb()


def series_of(name):
    metrics.flush()
    return {tuple(one.labels.items()): one for one in metric_store.read([name])[name]}


def test_increments_of_a_label_set_add_up():
    for _ in range(3):
        metrics.increment("hub_things_total", service="L02")
    metrics.increment("hub_things_total", 5, service="L03")

    found = series_of("hub_things_total")

    assert found[(("service", "L02"),)].value == 3
    assert found[(("service", "L03"),)].value == 5


class Level(enum.IntEnum):
    HIGH = 2


def test_a_number_of_a_kind_of_its_own_is_kept_as_a_number():
    metrics.set_gauge("l03_level", Level.HIGH)

    assert series_of("l03_level")[()].value == 2


def test_four_processes_count_exactly_together():
    script = (
        "from hub.setup import ensure_django; ensure_django()\n"
        "from hub.telemetry import metrics\n"
        "for n in range(1000): metrics.increment('hub_fleet_total'); metrics.observe('hub_fleet_seconds', 0.02)\n"
    )

    running = [subprocess.Popen([sys.executable, "-c", script], env=hub_environment()) for _ in range(4)]
    assert [process.wait(110) for process in running] == [0] * 4

    assert series_of("hub_fleet_total")[()].value == 4000
    histogram = series_of("hub_fleet_seconds")[()]
    assert histogram.count == 4000
    assert histogram.buckets == {2: 4000}


def test_a_batch_that_arrives_twice_is_added_once():
    sample = Sample(name="a_total", kind="counter", labels="{}", folded="{}", value=2).to_dict()

    metric_store.add("process-1", 1, [sample])
    metric_store.add("process-1", 1, [sample])
    metric_store.add("process-1", 2, [sample])

    assert series_of("a_total")[()].value == 4


def test_counts_wait_while_redis_is_away(monkeypatch):
    real = metric_store.add

    def away(*_):
        raise metrics.redis.ConnectionError

    monkeypatch.setattr(metric_store, "add", away)
    for _ in range(100):
        metrics.increment("hub_waiting_total")
        metrics.flush()
    monkeypatch.setattr(metric_store, "add", real)
    metrics.increment("hub_waiting_total")

    assert series_of("hub_waiting_total")[()].value == 101


def test_sending_ends_though_others_go_on_counting(monkeypatch):
    real = metric_store.add

    def add_while_others_count(*args):
        metrics.increment("hub_waiting_total")
        real(*args)

    monkeypatch.setattr(metric_store, "add", add_while_others_count)
    metrics.increment("hub_waiting_total")
    metrics.flush()
    monkeypatch.setattr(metric_store, "add", real)

    assert series_of("hub_waiting_total")[()].value == 2


def test_label_values_beyond_the_limit_fold_into_other(settings):
    settings.HUB = settings.HUB.model_copy(update={"metric_max_series": 10})

    for number in range(3_000):
        metrics.increment("hub_paths_total", path=f"/{number}")

    found = series_of("hub_paths_total")
    assert len(found) == 10
    assert sum(one.value for one in found.values()) == 3_000
    assert (("path", "other"),) in found
    assert series_of(metric_store.FOLDED)[(("metric", "hub_paths_total"),)].value > 0


@pytest.mark.parametrize(("name", "value"), [("a-b", 1), ("a_total", float("nan")), ("a_total", -1), ("a_total", "x")])
def test_a_wrong_sample_is_counted_as_refused_and_raises_nothing(name, value):
    before = metrics._aggregator.lost["refused"]

    metrics.increment(name, value)

    assert metrics._aggregator.lost["refused"] == before + 1


def test_a_summary_has_count_sum_and_percentiles():
    for number in range(1, 101):
        metrics.observe("hub_answers_seconds", number / 100, service="L02")

    found = services.metric_summary("hub_answers_seconds", {"service": "L02"})

    assert found["count"] == 100
    assert found["sum"] == pytest.approx(50.5)
    assert found["p50"] == pytest.approx(0.5, abs=0.02)
    assert found["p99"] == pytest.approx(0.99, abs=0.8)
    assert services.metric_summary("hub_nothing_total")["type"] is None


def test_an_observation_keeps_the_trace_it_was_made_in():
    with tracing.span("slow"):
        trace_id = tracing.trace_id()
        metrics.observe("hub_answers_seconds", 0.3)

    assert series_of("hub_answers_seconds")[()].exemplars == {7: trace_id}


def test_spans_that_were_lost_are_counted(monkeypatch):
    metrics.flush()
    client().flushdb()

    monkeypatch.setitem(tracing.pipeline().lost, "queue", tracing.pipeline().lost["queue"] + 7)

    assert series_of("hub_spans_total")[(("outcome", "lost"), ("place", "queue"))].value == 7


@pytest.mark.django_db(transaction=True)
def test_spans_written_at_the_end_of_a_process_are_counted():
    script = (
        "from hub.setup import ensure_django; ensure_django()\n"
        "from hub.telemetry import tracing, values\n"
        "for n in range(5): tracing.record(values.TraceSpan('last words'))\n"
    )

    running = [subprocess.Popen([sys.executable, "-c", script], env=hub_environment()) for _ in range(4)]
    assert [process.wait(110) for process in running] == [0] * 4

    counted = {dict(labels)["outcome"]: one.value for labels, one in series_of("hub_spans_total").items()}
    assert counted == {"written": 20}


def test_the_seeds_face_records_a_metric_and_declares_others():
    async def scenario():
        observability = Observability()
        await observability.record_metric(Metric("l11_request_duration_seconds", "histogram", 0.123, {"service": "L02_runtime"}))
        counter = await observability.create_counter("l11_calls_total", "calls")
        counter.add(2, {"service": "L02_runtime"})
        with pytest.raises(IntegrationError) as caught:
            await observability.create_gauge("l11_calls_total")
        return caught.value.code, await observability.get_metric_summary("l11_calls_total")

    code, summary = asyncio.run(scenario())

    assert code == "E11521"
    assert summary["value"] == 2


def test_a_metric_whose_samples_would_have_the_names_of_another_is_not_declared():
    services.declare_metric("jobs_total", "counter")

    for name, kind in (("jobs", "counter"), ("jobs", "gauge")):
        with pytest.raises(IntegrationError, match=r"^E11521: the samples of jobs would have names of jobs_total"):
            services.declare_metric(name, kind)


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
def test_labels_may_be_called_name_and_value(kind):
    services.record_metric(Metric(f"shop_{kind}", kind, 2, {"name": "a", "value": "b", "kind": "c"}))

    assert series_of(f"shop_{kind}")[("kind", "c"), ("name", "a"), ("value", "b")].value == 2


def test_there_is_an_end_to_the_names_of_metrics(monkeypatch):
    monkeypatch.setattr(metric_store, "MAX_METRICS", 2)
    for name in ("one", "two", "three", "one"):
        metrics.increment(f"{name}_total")
        metrics.flush()

    assert set(metric_store.types()) == {"one_total", "two_total", metric_store.REFUSED}
    assert metric_store.read([metric_store.REFUSED])[metric_store.REFUSED][0].value == 1
    with pytest.raises(IntegrationError, match=r"^E11560: there are 2 metrics already"):
        services.declare_metric("four", "gauge")


def test_a_sample_that_redis_refuses_takes_no_others_with_it():
    client().set("hub:metric:odd_total", "no hash")
    for _ in range(2):
        metrics.increment("odd_total")
        metrics.increment("good_total")
        metrics.flush()

    found = {name: series[0].value for name, series in metric_store.read(["good_total", metric_store.REFUSED]).items()}
    assert found == {"good_total": 2.0, metric_store.REFUSED: 2.0}


def test_a_flood_of_label_values_costs_no_other_metric_its_series():
    for number in range(MAX_LOCAL_SERIES + 2):
        metrics.increment("l03_flood_total", user=str(number))
    metrics.increment("hub_things_total", service="L02")

    assert series_of("hub_things_total")[(("service", "L02"),)].value == 1
    assert sum(one.value for one in series_of("l03_flood_total").values()) == MAX_LOCAL_SERIES + 2


@pytest.mark.parametrize(
    ("name", "value", "labels", "code"),
    [
        ("games:sets", 1, {}, "E11504"),
        ("_total", 1, {}, "E11504"),
        ("games", 10**400, {}, "E11905"),
        ("games", -1e101, {}, "E11905"),
        ("games", 1, {"x": "\ud800"}, "E11508"),
        ("games", 1, {"x": "a\x00"}, "E11508"),
    ],
)
def test_a_metric_that_no_page_could_show_is_refused(name, value, labels, code):
    with pytest.raises(IntegrationError, match=f"^{code}: "):
        Metric(name, "gauge", value, labels)
