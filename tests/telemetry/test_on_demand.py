"""Spans that are made only when something refers to them."""

import logging

import pytest
from opentelemetry import trace as otel_trace

from hub.telemetry import logs, on_demand, tracing


@pytest.fixture
def ended(monkeypatch):
    """What was traced, by name, while nothing is slow."""
    monkeypatch.setattr(on_demand, "SLOW_SEC", 3_600)
    with tracing.collected() as spans:
        yield lambda: {span.name: span for span in spans}


def part(work=lambda: None):
    whole = tracing.begin("whole")
    try:
        with tracing.span_on_demand("part", kind="consumer", attributes={"of": "whole"}, parent=whole):
            work()
    finally:
        whole.end()


def test_work_that_nothing_refers_to_has_no_span(ended):
    part()

    assert ended().keys() == {"whole"}


def child():
    with tracing.span("child"):
        pass


def tell():
    otel_trace.get_current_span().set_attribute("rows", 3)


def write_to_the_log():
    record = logging.makeLogRecord({"msg": "hello", "levelno": logging.INFO})
    logs.JsonFormatter().format(record)


@pytest.mark.parametrize("work", [child, tell, tracing.traceparent, tracing.trace_id, write_to_the_log])
def test_what_refers_to_the_work_gives_it_a_span(ended, work):
    part(work)

    found = ended()
    assert found["part"].parent.span_id == found["whole"].context.span_id
    assert found["part"].attributes["of"] == "whole"
    assert "child" not in found or found["child"].parent.span_id == found["part"].context.span_id


def test_what_is_told_is_in_the_span_when_it_is_made(ended):
    part(tell)

    assert ended()["part"].attributes["rows"] == 3


def test_work_that_fails_has_a_span_that_says_so(ended):
    with pytest.raises(ZeroDivisionError):
        part(lambda: 1 / 0)

    failed = ended()["part"]
    assert failed.status.status_code is otel_trace.StatusCode.ERROR
    assert failed.events[0].attributes["exception.type"] == "ZeroDivisionError"


def test_work_that_takes_long_has_a_span_from_its_beginning(ended, monkeypatch):
    monkeypatch.setattr(on_demand, "SLOW_SEC", 0.01)
    moments = iter([1_000_000_000, 1_010_000_000])
    monkeypatch.setattr(on_demand.time, "time_ns", lambda: next(moments, 2_000_000_000))
    whole = otel_trace.NonRecordingSpan(otel_trace.INVALID_SPAN_CONTEXT)

    with tracing.span_on_demand("part", kind="consumer", attributes={}, parent=whole):
        pass

    assert ended()["part"].start_time == 1_000_000_000
