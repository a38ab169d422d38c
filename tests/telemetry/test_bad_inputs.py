"""Every bad input of this room gets its code and has no effect."""

from pathlib import Path

import pytest

from hub.errors import IntegrationError
from hub.redis_client import client
from hub.telemetry import metric_store, metrics, tasks, tracing
from hub.telemetry.models import Span
from tests.telemetry.compact import load

pytestmark = pytest.mark.django_db

ENTRIES = load(Path(__file__).parent / "data" / "bad_inputs.json")
REFUSED = [entry for entry in ENTRIES if "kwargs" in entry["input"] and entry["expect"]["code"]]


@pytest.fixture(autouse=True)
def _nothing_is_there():
    metrics.flush()
    client().flushdb()
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
