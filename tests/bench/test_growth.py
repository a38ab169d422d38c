"""What D3 measures is what it says: a trace has its spans, nothing is due for the sweep, and no row stays behind."""

from __future__ import annotations

import pytest

from hub.bench import growth, load
from hub.bench.load import Counts
from hub.redis_client import client as redis_client
from sagas import recovery
from sagas.models import SagaExecution

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]


@pytest.fixture(autouse=True)
def _rows():
    redis_client().flushdb()
    load.load(Counts(sagas=30, spans=30, dead_letters=0))


def test_each_trace_that_is_read_has_its_spans():
    found = {len(read()) for read in growth.traces()}

    assert found == {load.SPANS_OF_A_TRACE}


def test_no_row_is_due_for_the_sweep():
    assert recovery.sweep().looked_at == 0


def test_what_is_measured_is_the_median_over_all_times():
    taken = growth.measure(growth.sweeps())

    assert taken["units"] == growth.READS
    assert taken["figure"] > 0
    assert SagaExecution.objects.count() == 30
