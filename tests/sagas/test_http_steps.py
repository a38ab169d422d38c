"""What the answers of a service mean for a step, also where the router sent it more than once."""

from __future__ import annotations

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from hub import SagaDefinition, SagaStep
from hub.circuits import fleet
from hub.errors import IntegrationError
from hub.telemetry import tracing
from registry_app import lookup, services
from sagas import preflight
from tests.registry import samples
from tests.sagas.driven import drive, started

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]


@pytest.fixture
def bookings(httpserver: HTTPServer):
    """A service that books and unbooks, and answers as it is told."""
    fleet.forget()
    samples.register("L99_bookings", httpserver.url_for("").rstrip("/"))
    lookup.forget()
    httpserver.expect_request("/bookings/7", method="DELETE").respond_with_data("")
    yield httpserver
    fleet.forget()
    lookup.forget()


def book(method, answers, server):
    """Run a saga of one step whose requests get these answers, one after the other; return how it ended and what was asked."""
    for status in answers:
        server.expect_ordered_request("/bookings/7", method=method).respond_with_response(Response(status=status))
    step = SagaStep(
        step_id="book", service_name="L99_bookings", endpoint=f"{method} /bookings/7", compensation_endpoint="DELETE /bookings/7",
        timeout_sec=5, max_retries=0,
    )  # fmt: skip
    found = drive(started(SagaDefinition.create("books", [step]).spec()))
    return found["steps"][0]["status"], [f"{request.method} {response.status_code}" for request, response in server.log]


@pytest.mark.parametrize("answers", [(504, 409), (504, 404), (503, 503, 409), (303,), (302,)])
def test_what_a_request_may_have_done_is_undone_though_its_repeat_was_refused(bookings, answers):
    method = "PUT" if len(answers) > 1 else "POST"

    status, asked = book(method, answers, bookings)

    assert asked == [*(f"{method} {answer}" for answer in answers), "DELETE 200"]
    assert status == "compensated"


@pytest.mark.parametrize("answer", [409, 404, 308])
def test_what_was_only_refused_is_not_undone(bookings, answer):
    assert book("PUT", (answer,), bookings) == ("failed", [f"PUT {answer}"])


def test_what_a_step_asks_carries_the_correlation_id_of_its_run_whoever_sent_it_on(bookings):
    bookings.expect_request("/bookings/7", method="PUT").respond_with_json({})
    step = SagaStep(step_id="book", service_name="L99_bookings", endpoint="PUT /bookings/7", compensation_endpoint="DELETE /bookings/7")

    with tracing.correlated("of-the-sweeper"):
        drive(started(SagaDefinition.create("books", [step]).spec(), correlation_id="order-7"))

    assert [request.headers["X-Correlation-Id"] for request, _ in bookings.log] == ["order-7"]


@pytest.mark.parametrize("known", [True, False])
def test_a_service_that_took_itself_out_is_waited_for_and_one_that_never_was_is_not(bookings, known):
    """A layer of one instance leaves at its clean stop, and is back when its new code has started."""
    name = "L99_bookings" if known else "L99_bokings"
    services.deregister(samples.register("L99_bookings", bookings.url_for("").rstrip("/")).service_id, force=True)
    lookup.forget()
    step = SagaStep(
        step_id="book", service_name=name, endpoint="PUT /bookings/7", compensation_endpoint="DELETE /bookings/7", max_retries=0
    )

    spec = SagaDefinition.create("books", [step]).spec()

    found = drive(started(spec))

    assert (found["status"], found["steps"][0]["attempts"]) == (("waiting", 0) if known else ("compensated", 1))
    with pytest.raises(IntegrationError) as refused:
        preflight.check(spec, spec.timeout_sec)
    assert refused.value.code == ("E11435" if known else "E11405")  # ask later; or correct the definition
