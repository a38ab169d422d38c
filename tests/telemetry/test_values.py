from datetime import UTC, datetime

import pytest

from hub.errors import IntegrationError
from hub.telemetry.values import Metric, TraceSpan


def test_a_span_needs_a_name_and_a_service():
    span = TraceSpan(span_name="execute_task", service_name="L11_integration")

    assert len(span.trace_id) == 32
    assert len(span.span_id) == 16
    assert span.duration_sec == 0


def test_times_are_taken_as_text_number_or_datetime():
    span = TraceSpan("x", start="2026-01-01T00:00:00Z", end=datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC))

    assert span.duration_sec == 2
    assert TraceSpan("x", start=0.0).start == datetime(1970, 1, 1, tzinfo=UTC)


def test_a_uuid_as_trace_id_becomes_its_digits():
    assert TraceSpan("x", trace_id="4bf92f35-77b3-4da6-a3ce-929d0e0e4736").trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"trace_id": "abc"}, "E11501"),
        ({"trace_id": "0" * 32}, "E11501"),
        ({"span_id": "1"}, "E11502"),
        ({"parent_span_id": "xyz"}, "E11502"),
        ({"start": "2026-01-01T00:00:01Z", "end": "2026-01-01T00:00:00Z"}, "E11503"),
        ({"start": "2026-01-01T00:00:01"}, "E11909"),
        ({"end": "yesterday"}, "E11909"),
        ({"attributes": [1]}, "E11509"),
        ({"attributes": {"a": {"b": 1}}}, "E11509"),
        ({"attributes": {f"a{n}": n for n in range(10_000)}}, "E11561"),
        ({"attributes": {"a": "x" * 70_000}}, "E11561"),
        ({"span_name": "x" * 300}, "E11561"),
        ({"span_name": ""}, "E11902"),
        ({"kind": "odd"}, "E11902"),
    ],
)
def test_a_wrong_span_is_refused_with_its_code(values, code):
    with pytest.raises(IntegrationError) as caught:
        TraceSpan(**{"span_name": "x", **values})

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"metric_name": "a-b"}, "E11504"),
        ({"metric_type": "summary"}, "E11505"),
        ({"value": "1"}, "E11506"),
        ({"value": -1}, "E11506"),
        ({"value": float("inf")}, "E11905"),
        ({"value": float("nan")}, "E11905"),
        ({"labels": {"a-b": "x"}}, "E11507"),
        ({"labels": {"__name__": "x"}}, "E11507"),
        ({"labels": {"le": "x"}}, "E11507"),
        ({"labels": {"a": 1}}, "E11508"),
        ({"labels": {"a": "x" * 129}}, "E11563"),
    ],
)
def test_a_wrong_metric_is_refused_with_its_code(values, code):
    with pytest.raises(IntegrationError) as caught:
        Metric(**{"metric_name": "a_total", "metric_type": "counter", "value": 1, **values})

    assert caught.value.code == code
