"""Every bad input of this room gets its code and has no effect."""

import logging
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from hub.errors import IntegrationError
from hub.redis_client import client as redis_client
from hub.telemetry import metric_store, metrics, services, tasks, tracing
from hub.telemetry.models import Span
from tests.telemetry.compact import load

pytestmark = pytest.mark.django_db

ENTRIES = load(Path(__file__).parent / "data" / "bad_inputs.json")
REFUSED = [entry for entry in ENTRIES if "kwargs" in entry["input"] and entry["expect"]["code"]]


@pytest.fixture(autouse=True)
def _nothing_is_there():
    metrics.flush()
    redis_client().flushdb()
    tracing.pipeline()._queue.clear()


@pytest.mark.parametrize("entry", REFUSED, ids=lambda entry: entry["title"])
def test_a_bad_input_is_refused(entry):
    record = tasks.record_span if entry["surface"] == "span" else tasks.record_metric
    if "first" in entry["input"]:
        record(**entry["input"]["first"])

    with pytest.raises(IntegrationError) as caught:
        record(**entry["input"]["kwargs"])

    assert (caught.value.code, caught.value.code.http, caught.value.code.retry) == tuple(
        entry["expect"][k] for k in ("code", "http", "retry")
    )
    assert len(str(caught.value)) < 500
    tracing.flush()
    metrics.flush()
    assert not Span.objects.exists()
    assert set(metric_store.types()) <= {entry["input"].get("first", {}).get("metric_name", "")}


def test_more_label_values_than_the_limit_fold_into_other_and_the_log_says_so(settings, caplog):
    [entry] = [entry for entry in ENTRIES if entry["input"].get("scenario") == "cardinality"]
    settings.HUB = settings.HUB.model_copy(update={"metric_max_series": 20})
    metric_store._say_folded.cache_clear()
    logging.getLogger("hub").addHandler(caplog.handler)

    count = entry["input"]["n"] // 20  # enough to be far beyond the limit, in a twentieth of the time
    for number in range(count):
        metrics.increment("hub_from_callers_total", path=f"/{number}")
    metrics.flush()
    logging.getLogger("hub").removeHandler(caplog.handler)

    series = metric_store.read(["hub_from_callers_total"])["hub_from_callers_total"]
    assert len(series) == 20
    assert sum(one.value for one in series) == count
    assert {"path": "other"} in [one.labels for one in series]
    [said] = [record for record in caplog.records if getattr(record, "code", "") == entry["expect"]["code"]]
    assert (said.metric, said.labels) == ("hub_from_callers_total", ["path"])


def test_odd_label_values_are_taken_and_escaped(client):
    [entry] = [entry for entry in ENTRIES if "kwargs" in entry["input"] and not entry["expect"]["code"]]

    tasks.record_metric(**entry["input"]["kwargs"])

    text = client.get("/metrics", HTTP_ACCEPT="application/openmetrics-text; version=1.0.0").content.decode()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert found["a"].samples[0].labels == entry["input"]["kwargs"]["labels"]


@pytest.mark.parametrize(("record", "kind"), [(services.record_span, "TraceSpan"), (services.record_metric, "Metric")])
def test_what_is_no_record_is_refused_with_its_type(record, kind):
    with pytest.raises(IntegrationError, match=rf"^E11902: .* must be a {kind}, not str"):
        record("x")
