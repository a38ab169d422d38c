import asyncio
import json
import os
import threading
from datetime import datetime, timedelta, timezone

import pytest

from hub.errors import IntegrationError
from hub.telemetry import background, conventions, services, store, tracing
from hub.telemetry.face import Observability
from hub.telemetry.models import Span
from hub.telemetry.pipeline import SpanPipeline
from hub.telemetry.redaction import Redactor
from hub.telemetry.values import TraceSpan

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(autouse=True)
def _nothing_is_queued():
    tracing.pipeline()._queue.clear()


@pytest.mark.django_db
def test_a_span_under_a_traceparent_is_stored_as_its_child():
    with tracing.span("outer", kind="server", traceparent=PARENT), tracing.span("inner", attributes={"a": 1, "none": None}):
        inner_context = tracing.traceparent()
    tracing.flush()

    outer, inner = store.trace("4bf92f3577b34da6a3ce929d0e0e4736")
    assert (outer.span_name, outer.parent_span_id, outer.kind) == ("outer", "00f067aa0ba902b7", "server")
    assert (inner.span_name, inner.parent_span_id, inner.attributes) == ("inner", outer.span_id, {"a": 1})
    assert inner_context == f"00-{inner.trace_id}-{inner.span_id}-01"


def test_outside_of_a_span_there_is_no_context():
    assert tracing.traceparent() is None
    assert tracing.trace_id() is None
    assert tracing.headers() == {}


def test_a_malformed_traceparent_starts_a_new_trace():
    with tracing.span("one"):
        first = tracing.trace_id()
        with tracing.span("two", traceparent="nonsense"):
            assert tracing.trace_id() not in (None, first)


@pytest.mark.django_db
def test_an_exception_ends_the_span_as_failed_and_goes_on():
    with pytest.raises(ValueError, match="broken"), tracing.span("fails"):
        raise ValueError("broken by password=hunter2000")
    tracing.flush()

    row = Span.objects.get(name="fails")
    assert row.status == "error"
    assert row.kept
    assert "hunter2000" not in row.status_message + json.dumps(row.events)


@pytest.mark.django_db
def test_a_span_in_which_the_clock_was_set_back_is_kept(time_machine):
    time_machine.move_to("2026-01-01T12:00:00+00:00", tick=False)

    with tracing.span("over a step of the clock"):
        time_machine.shift(-2)
    tracing.flush()

    assert Span.objects.get(name="over a step of the clock").duration_us == 0


@pytest.mark.django_db
def test_links_and_correlation_are_stored():
    with tracing.correlated("order-7"), tracing.span("undo", links=[PARENT, "nonsense"]):
        assert tracing.headers()["x-correlation-id"] == "order-7"
    tracing.flush()

    row = Span.objects.get(name="undo")
    assert row.links == [PARENT]
    assert row.correlation_id == row.attributes[conventions.CORRELATION_ID] == "order-7"


@pytest.mark.django_db
def test_a_span_that_is_written_twice_is_stored_once():
    span = TraceSpan("twice", "s", start=0.0, end=1.0)

    store.write([span])
    store.write([span])

    assert Span.objects.filter(name="twice").count() == 1


@pytest.mark.django_db
def test_of_a_batch_only_what_is_new_is_stored_and_odd_text_spoils_nothing():
    odd = {"nul": "a\x00b", "half": "\ud800", "tab": "\t", "back": "\\N", "none": None, "é": ["ü"]}
    batch = [TraceSpan(f"batch {n}", "s\tt", start=0.0, end=1.0, attributes=odd, status_message="\\.") for n in range(8)]

    store.write(batch[:6])
    store.write(batch)

    rows = list(Span.objects.filter(name__startswith="batch").order_by("name"))
    assert [row.name for row in rows] == [f"batch {n}" for n in range(8)]
    for row in rows:
        assert (row.service, row.status_message, row.duration_us) == ("s\tt", "\\.", 1_000_000)
        assert (row.attributes["nul"], row.attributes["back"], row.attributes["none"]) == ("a\ufffdb", "\\N", None)


@pytest.mark.django_db
def test_text_that_a_database_refuses_loses_only_itself():
    odd = TraceSpan("odd", "s", start=0.0, end=1.0, attributes={"nul": "a\x00b", "half": "\ud800"}, status_message="\x00")

    store.write([odd, TraceSpan("plain", "s", start=0.0, end=1.0)])

    assert Span.objects.filter(name__in=["odd", "plain"]).count() == 2


@pytest.mark.django_db
def test_a_sink_that_fails_keeps_nothing_from_the_others(monkeypatch):
    def full_disk(spans):
        raise OSError("no space left")

    pipeline = tracing.pipeline()
    monkeypatch.setitem(pipeline.sinks, "file", full_disk)
    lost_before = pipeline.lost["file"]

    with tracing.span("stored anyway"):
        pass
    tracing.flush()

    assert Span.objects.filter(name="stored anyway").exists()
    assert pipeline.lost["file"] == lost_before + 1


def test_a_full_queue_drops_and_counts(monkeypatch):
    monkeypatch.setattr("hub.telemetry.pipeline.QUEUE_LIMIT", 2)
    pipeline = tracing.pipeline()
    before = pipeline.lost["queue"]

    for _ in range(5):
        pipeline.put(TraceSpan("x", "s"))

    assert pipeline.lost["queue"] == before + 3
    pipeline._queue.clear()


def test_a_forked_child_does_not_write_its_parents_spans():
    pipeline = tracing.pipeline()
    pipeline.put(TraceSpan("parents", "s"))

    child = os.fork()
    if child == 0:
        os._exit(len(pipeline._queue))
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert len(pipeline._queue) == 1
    pipeline._queue.clear()


@pytest.mark.django_db
def test_spans_go_to_a_file_line_by_line(tmp_path, monkeypatch):
    path = tmp_path / "observability.log"
    monkeypatch.setattr(tracing.pipeline(), "sinks", {})
    tracing.write_to_file(str(path))

    with tracing.span("one"), tracing.span("two"):
        pass
    tracing.flush()

    names = [json.loads(line)["span_name"] for line in path.read_text().splitlines()]
    assert names == ["two", "one"]


@pytest.mark.django_db(transaction=True)
def test_the_seeds_face_records_a_span_and_finds_its_trace():
    async def scenario():
        observability = Observability()
        span = TraceSpan(span_name="execute_task", service_name="L11_integration")
        await observability.record_span(span)
        return span, await observability.get_trace(trace_id=span.trace_id), await observability.get_trace(trace_id="abc-123")

    span, found, unknown = asyncio.run(scenario())

    assert [(one.span_name, one.span_id) for one in found] == [("execute_task", span.span_id)]
    assert unknown == []


@pytest.mark.django_db
def test_a_sink_that_hangs_holds_up_neither_the_database_nor_a_reader():
    over, taken = threading.Event(), []

    def hanging(spans):
        over.wait(20)
        taken.extend(spans)

    pipeline = SpanPipeline({"database": store.write, "otlp": hanging}, Redactor(), aside=["otlp"])
    try:
        for number in range(3):
            pipeline.put(TraceSpan(f"stored {number}", "s", start=0.0, end=1.0))
            pipeline.flush()
        assert Span.objects.filter(name__startswith="stored").count() == 3
        assert taken == []
    finally:
        over.set()
    background.flush_all()
    assert len(taken) == pipeline.written["otlp"] == 3


@pytest.mark.django_db
def test_a_sink_that_hangs_for_long_loses_its_own_spans_and_counts_them(monkeypatch):
    monkeypatch.setattr("hub.telemetry.pipeline.QUEUE_LIMIT", 2)
    pipeline = SpanPipeline({"database": store.write, "otlp": print}, Redactor(), aside=["otlp"])

    for _ in range(2):
        for _ in range(2):
            pipeline.put(TraceSpan("kept", "s", start=0.0, end=1.0))
        pipeline.flush()

    assert Span.objects.filter(name="kept").count() == 4
    assert pipeline.lost["otlp"] == 2


@pytest.mark.django_db
def test_what_says_nul_in_json_is_stored_as_it_is_and_a_real_one_is_not():
    texts = {"literal": "\\u0000 cannot be converted to text", "twice": "\\\\u0000", "real": "a\x00b", "both": "\\\x00"}

    store.write([TraceSpan("said", "s", start=0.0, end=1.0, attributes=texts)])

    found = Span.objects.get(name="said").attributes
    assert found == {**texts, "real": "a\ufffdb", "both": "\\\ufffd"}


@pytest.mark.django_db
def test_numbers_that_no_json_has_do_not_cost_the_span():
    with tracing.span("odd numbers") as current:
        current.set_attribute("ratio", float("nan"))
        current.set_attribute("times", [0.5, float("inf")])
    tracing.flush()

    assert Span.objects.get(name="odd numbers").attributes == {"ratio": "nan", "times": [0.5, "inf"]}


@pytest.mark.django_db
def test_one_span_that_no_table_takes_takes_no_others_with_it():
    odd = TraceSpan("odd", "s", start=0.0, end=1.0)
    object.__setattr__(odd, "start", datetime.min.replace(tzinfo=timezone(timedelta(hours=14))))

    store.write([odd, TraceSpan("plain", "s", start=0.0, end=1.0)])

    assert Span.objects.filter(name="plain").exists()


@pytest.mark.django_db
def test_a_span_that_the_database_refuses_counts_as_lost():
    odd = TraceSpan("odd", "s", start=0.0, end=1.0)
    object.__setattr__(odd, "status", "other")
    pipeline = SpanPipeline({"database": store.write}, Redactor())

    for span in (odd, TraceSpan("plain", "s", start=0.0, end=1.0)):
        pipeline.put(span)
    pipeline.flush()

    assert Span.objects.get().name == "plain"
    assert (pipeline.written["database"], pipeline.lost["database"]) == (1, 1)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"start": "0001-01-01T00:00:00+14:00"}, "E11909"),
        ({"end": "9999-12-31T23:59:59-14:00"}, "E11909"),
        ({"events": [1]}, "E11509"),
        ({"events": [{"message": "x"}]}, "E11509"),
        ({"events": [{"name": "x", "time": "yesterday"}]}, "E11509"),
        ({"links": [1]}, "E11509"),
        ({"links": None}, "E11902"),
        ({"events": None}, "E11902"),
        ({"status_message": 5}, "E11902"),
        ({"status_message": "x" * 100_000}, "E11902"),
    ],
)
def test_a_span_of_another_shape_is_refused_with_a_code(fields, code):
    with pytest.raises(IntegrationError, match=f"^{code}: "):
        services.record_span(services.span_from({"span_name": "odd", **fields}))
