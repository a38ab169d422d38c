import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from celery import Celery
from django.conf import settings
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from hub.celery import QUEUES
from hub.redis_client import client as redis_client
from hub.telemetry import metrics, pipeline, queues, readers, receiver, store, tracing
from hub.telemetry.models import Span
from hub.telemetry.otel import to_otel
from hub.telemetry.otlp import OtlpSink
from hub.telemetry.values import TraceSpan

pytestmark = pytest.mark.django_db
OPENMETRICS = {"HTTP_ACCEPT": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture(autouse=True)
def _nothing_is_there():
    metrics.flush()
    redis_client().flushdb()
    tracing.pipeline()._queue.clear()
    tracing.received()._queue.clear()


def read(client):
    answer = client.get("/metrics", **OPENMETRICS)
    assert answer.status_code == 200
    return {family.name: family for family in text_string_to_metric_families(answer.content.decode())}


def test_metrics_are_openmetrics_with_exact_buckets_and_exemplars(client):
    metrics.increment("hub_things_total", 3, service='L02 "x"\n')
    metrics.set_gauge("hub_level", 1.5)
    with tracing.span("slow"):
        trace_id = tracing.trace_id()
        for seconds in (0.02, 0.02, 4):
            metrics.observe("hub_answer_seconds", seconds)

    found = read(client)

    [counter] = found["hub_things"].samples
    assert (counter.value, counter.labels["service"]) == (3, 'L02 "x"\n')
    assert found["hub_level"].samples[0].value == 1.5
    samples = found["hub_answer_seconds"].samples
    buckets = {one.labels["le"]: one for one in samples if one.name.endswith("_bucket")}
    assert (buckets["0.01"].value, buckets["0.025"].value, buckets["5.0"].value, buckets["+Inf"].value) == (0, 2, 3, 3)
    assert buckets["5.0"].exemplar.labels["trace_id"] == trace_id
    assert [one.value for one in samples if one.name.endswith("_count")] == [3]


def test_observations_below_0_do_not_spoil_the_page(client):
    for value in (-5, 2):
        metrics.observe("l03_balance", value)

    samples = read(client)["l03_balance"].samples

    assert {one.name for one in samples} == {"l03_balance_bucket"}
    assert [one.value for one in samples if one.labels["le"] in ("1.0", "+Inf")] == [1, 2]


def test_what_an_alarm_waits_for_is_told_as_0_before_the_first_of_it(client):
    before = read(client)
    metrics.increment("hub_request_records_lost_total", 7)
    metrics.increment("hub_spans_total", 512, outcome="lost", place="database")

    after = read(client)

    lost = [{tuple(one.labels.values()): one.value for one in found["hub_spans"].samples} for found in (before, after)]
    assert [one["lost", "database"] for one in lost] == [0, 512]
    assert [found["hub_request_records_lost"].samples[0].value for found in (before, after)] == [0, 7]


def test_metrics_that_share_a_name_do_not_spoil_the_page(client):
    metrics.set_gauge("jobs", 1)
    metrics.increment("jobs_total", 2)
    metrics.observe("wait", 3)
    metrics.set_gauge("wait_count", 4)
    metrics.set_gauge("hub_queue_messages", 5)

    found = read(client)

    assert [one.value for one in found["jobs"].samples] == [2]
    assert found["wait"].type == "histogram"
    assert 5 not in [one.value for one in found["hub_queue_messages"].samples]


def test_the_queues_are_among_the_metrics_also_those_that_nobody_reads(client):
    with Celery(broker=settings.REDIS_URL, set_as_current=False) as app:
        for _ in range(3):
            app.send_task("l99.run", queue="l99.unread")

    found = read(client)

    [waiting] = [one for one in found["hub_queue_messages"].samples if one.labels["queue"] == "l99.unread"]
    assert waiting.value == 3
    assert found["hub_queue_oldest_message_age_seconds"].samples[0].value < 60


def test_what_workers_hold_and_who_reads_is_counted_per_queue(client):
    redis_client().set(readers.ASKED_KEY, redis_client().time()[0])
    redis_client().hset(readers.KEY, "w@1", json.dumps({"at": redis_client().time()[0], "queues": ["l99.held"]}))
    with Celery(broker=settings.REDIS_URL, set_as_current=False) as app, app.connection() as connection:
        app.send_task("l99.run", queue="l99.held", countdown=600)
        app.send_task("l99.run", queue="l99.held")
        app.send_task("l99.run", queue="l99.idle")
        queue = connection.SimpleQueue("l99.held")
        messages = [queue.get(timeout=5), queue.get(timeout=5)]

        found = read(client)

        assert {name: value_of(found[name], "l99.held") for name in OF_A_QUEUE} == dict(zip(OF_A_QUEUE, (0, 2, 1, 1), strict=True))
        assert value_of(found["hub_queue_consumers"], "l99.idle") == 0
        for message in messages:
            message.ack()


OF_A_QUEUE = ("hub_queue_messages", "hub_queue_unacked_messages", "hub_queue_scheduled_messages", "hub_queue_consumers")


def value_of(family, queue):
    return next(sample.value for sample in family.samples if sample.labels["queue"] == queue)


def test_strangers_need_the_token(client, settings):
    assert client.get("/metrics", REMOTE_ADDR="10.1.2.3").status_code == 401
    settings.HUB = settings.HUB.model_copy(update={"telemetry_token": "t0ken-of-the-hub"})
    assert client.get("/metrics").json()["code"] == "E11580"
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer t0ken-of-the-hub", REMOTE_ADDR="10.1.2.3").status_code == 200


@pytest.mark.parametrize("header", ["HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA"])
def test_without_a_token_nobody_comes_in_through_a_proxy_on_this_machine(client, header):
    assert client.get("/metrics", **{header: "for=10.1.2.3"}).json()["code"] == "E11580"


def span(**values):
    return TraceSpan(**{"span_name": "layer.work", "service_name": "L03", "start": 1_700_000_000.0, "end": 1_700_000_001.5, **values})


def post(client, body, content_type="application/x-protobuf", **headers):
    answer = client.post("/v1/traces", body, content_type=content_type, **headers)
    tracing.flush()
    return answer


def test_spans_of_a_layers_sdk_are_stored_as_they_were(client):
    parent = span(status="error", status_message="no", attributes={"a": 1, "list": ["x"]}, kind="server")
    child = span(trace_id=parent.trace_id, parent_span_id=parent.span_id, links=[f"00-{'ab' * 16}-{'cd' * 8}-01"])

    answer = post(client, encode_spans([to_otel(parent), to_otel(child)]).SerializeToString())

    assert answer.status_code == 200
    assert not ExportTraceServiceResponse.FromString(answer.content).HasField("partial_success")
    stored = {one.span_id: one for one in store.trace(parent.trace_id)}
    assert stored[parent.span_id].to_dict() == parent.to_dict()
    assert stored[child.span_id].to_dict() == child.to_dict()


def test_the_json_form_and_a_packed_body_are_taken_too(client):
    times = {"startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000"}
    one = {"traceId": "ab" * 16, "spanId": "cd" * 8, "name": "js", "kind": 3, **times}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "L04"}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [one]}]}]}

    answer = post(client, gzip.compress(json.dumps(body).encode()), "application/json", HTTP_CONTENT_ENCODING="gzip")

    assert answer.json() == {}
    row = Span.objects.get(name="js")
    assert (row.service, row.kind, row.duration_us) == ("L04", "client", 1_000_000)


@pytest.mark.parametrize("end", [0, 1], ids=["never told", "set back"])
def test_a_span_in_which_the_clock_of_its_layer_was_set_back_is_kept(client, end):
    sent = encode_spans([to_otel(span())])
    sent.resource_spans[0].scope_spans[0].spans[0].end_time_unix_nano = end

    post(client, sent.SerializeToString())

    assert Span.objects.get().duration_us == 0


def test_a_malformed_span_is_refused_alone_and_counted(client):
    good = encode_spans([to_otel(span())])
    bad = encode_spans([to_otel(span())])
    bad.resource_spans[0].scope_spans[0].spans[0].trace_id = b"short"
    good.resource_spans.extend(bad.resource_spans)

    answer = post(client, good.SerializeToString())

    assert ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans == 1
    assert Span.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "code"),
    [
        (b"\xff\xff\xff", "application/x-protobuf", {}, "E11904"),
        (b"[1]", "application/json", {}, "E11904"),
        (b'{"resourceSpans": 7}', "application/json", {}, "E11904"),
        (b'{"a":' * 5_000, "application/json", {}, "E11904"),
        (b"x", "text/plain", {}, "E11910"),
        (b"x", "application/x-protobuf", {"HTTP_CONTENT_ENCODING": "gzip"}, "E11904"),
        (b"x", "application/x-protobuf", {"HTTP_CONTENT_ENCODING": "deflate"}, "E11910"),
        (b"x" * 4_000_001, "application/x-protobuf", {}, "E11960"),
        (gzip.compress(bytes(20_000_000)), "application/x-protobuf", {"HTTP_CONTENT_ENCODING": "gzip"}, "E11963"),
    ],
)
def test_what_is_no_trace_request_is_refused(client, body, content_type, headers, code):
    answer = post(client, body, content_type, **headers)

    assert (answer.status_code, answer.json()["code"]) == (answer.json()["status"], code)


def test_spans_without_room_are_sent_again_by_their_sender(client, monkeypatch):
    sent = [encode_spans([to_otel(span()) for _ in range(number)]).SerializeToString() for number in (3, 2)]
    monkeypatch.setattr(pipeline, "QUEUE_LIMIT", 2)

    full, fits = [post(client, body) for body in sent]

    assert (full.status_code, full.json()["code"], full["Retry-After"]) == (503, "E11540", "2")
    assert fits.status_code == 200
    assert Span.objects.count() == 2


def test_spans_go_out_to_a_collector():
    received = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Keep quiet."""

    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sent = span(attributes={"a": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        OtlpSink()([sent])
    server.shutdown()

    [(path, body)] = received
    [wire] = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    assert path == "/v1/traces"
    assert (wire.trace_id.hex(), wire.span_id.hex(), wire.name) == (sent.trace_id, sent.span_id, "layer.work")


def test_a_nested_attribute_is_kept_as_one_text_and_a_very_deep_one_is_cut():
    inner = AnyValue(int_value=1)
    for _ in range(30):
        inner = AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=inner)]))
    shallow = AnyValue(
        kvlist_value=KeyValueList(values=[KeyValue(key="a", value=AnyValue(array_value=ArrayValue(values=[AnyValue(bool_value=True)])))])
    )

    deep = receiver._plain(inner)

    assert receiver._plain(AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="o", value=shallow)]))) == '{"o": {"a": [true]}}'
    assert receiver._plain(AnyValue(double_value=float("nan"))) == "nan"
    assert len(deep) < 400
    assert "deeper" in deep


def test_a_span_from_the_future_is_refused():
    request = ExportTraceServiceRequest.FromString(encode_spans([to_otel(span(start=4e9, end=4e9)), to_otel(span())]).SerializeToString())

    accepted, refused = receiver.spans_of(request)

    assert (len(accepted), refused) == (1, 1)


def test_very_many_queues_hide_none_of_the_hubs_own(client):
    redis_client().sadd("_kombu.binding.agents", *(f"agent-{n}\x06\x16\x06\x16agent-{n}" for n in range(queues.MAX_QUEUES)))

    shown = [sample.labels["queue"] for sample in read(client)["hub_queue_messages"].samples]

    assert set(QUEUES) < set(shown)
    assert len(shown) == queues.MAX_QUEUES


def test_messages_with_a_priority_wait_in_their_queue_too(client):
    with Celery(broker=settings.REDIS_URL, set_as_current=False) as app:
        for priority in (None, 4, 9):
            app.send_task("l99.run", queue="l99.ranked", priority=priority)

    assert value_of(read(client)["hub_queue_messages"], "l99.ranked") == 3


ODD = {"huge": '{"headers": {"hub-sent-at": 1' + "0" * 400 + "}}", "deep": "[" * 100_000, "text": '{"headers": "text"}', "number": "5"}


@pytest.mark.parametrize("message", ODD.values(), ids=list(ODD))
def test_an_odd_message_takes_no_page_down(client, message):
    redis_client().lpush("l99.odd", message)
    redis_client().hset("unacked", "tag", f'[{message}, "", "l99.odd"]')

    assert sum(sample.value for sample in read(client)["hub_queue_messages"].samples) >= 0
