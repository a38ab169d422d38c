"""A call belongs to the trace and the correlation that it names."""

import pytest

from hub.telemetry import store, tracing
from hub.telemetry.models import Span
from sagas.models import SagaExecution

pytestmark = pytest.mark.django_db
TRACE, PARENT = "ab" * 16, "cd" * 8


def test_what_a_call_does_belongs_to_its_trace(caller):
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X_Correlation_Id": "order-7"}
    answer = caller.post("/sagas", {"saga_name": "three_steps"}, **headers)

    assert (answer["X-Trace-Id"], answer["X-Correlation-Id"]) == (TRACE, "order-7")
    run = SagaExecution.objects.get(pk=answer.json()["execution_id"])
    assert (run.trace_id, run.correlation_id) == (TRACE, "order-7")
    tracing.flush()
    [span] = [one for one in store.trace(TRACE) if one.kind == "server"]
    assert (span.parent_span_id, span.span_name) == (PARENT, "POST /api/v1/sagas")
    assert span.attributes["http.response.status_code"] == 202
    [began] = [one for one in store.trace(TRACE) if one.span_id in run.traceparent]
    assert began.parent_span_id == span.span_id


def test_a_malformed_traceparent_starts_a_trace(caller):
    answer = caller.get("/sagas", traceparent="00-nonsense")

    assert len(answer["X-Trace-Id"]) == 32
    assert len(answer["X-Correlation-Id"]) == 36


def test_a_refusal_names_its_trace_too(client):
    answer = client.get("/api/v1/sagas?token=hub_secret_of_somebody", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})

    assert answer.json()["trace_id"] == answer["X-Trace-Id"] == TRACE
    tracing.flush()
    row = Span.objects.get(trace_id=TRACE)
    assert "somebody" not in str(row.__dict__)


def test_addresses_that_are_not_there_are_problems_of_one_name(client):
    answer = client.get("/api/v1/no/such/thing")

    assert (answer.status_code, answer.json()["code"]) == (404, "E11920")
    tracing.flush()
    assert Span.objects.get(trace_id=answer["X-Trace-Id"]).name == "GET /api/unknown"


def test_a_strange_host_is_a_problem(client, settings):
    settings.ALLOWED_HOSTS = ["hub.example"]

    answer = client.get("/api/v1/sagas", headers={"Host": "evil.example"})

    assert (answer.status_code, answer.json()["code"]) == (400, "E11985")
