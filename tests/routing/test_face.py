"""The async face, as the layers' snippets use it."""

import asyncio
from datetime import datetime

import pytest

from hub.errors import IntegrationError
from hub.routing.context import RequestContext
from hub.routing.face import RequestOrchestrator

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_request_gives_the_body(service):
    orchestrator = RequestOrchestrator()

    response = asyncio.run(orchestrator.route_request(service_name=service, method="POST", path="/execute", data={"task": "example"}))

    assert response["body"] == '{"task":"example"}'


def test_a_context_is_carried(service, target):
    context = RequestContext.create()

    asyncio.run(RequestOrchestrator().route_request(service, "GET", "/x", context=context))

    assert RequestContext.from_headers(target.requests[0][2]).trace_id == context.trace_id


def test_a_failure_is_an_integration_error(service):
    with pytest.raises(IntegrationError):
        asyncio.run(RequestOrchestrator().route_request(service, "GET", "/status/404"))


@pytest.mark.parametrize("deadline", [datetime(2030, 1, 1), "2030-01-01T00:00:00Z", 5])  # noqa: DTZ001
def test_a_deadline_without_a_zone_is_refused(service, target, deadline):
    with pytest.raises(IntegrationError, match=r"^E11909: "):
        asyncio.run(RequestOrchestrator().route_request(service, "GET", "/x", deadline=deadline))

    assert target.requests == []


def test_a_broadcast_gives_an_outcome_per_service(service):
    responses = asyncio.run(RequestOrchestrator().broadcast_request(service_names=[service, "nobody"], method="GET", path="/health"))

    assert (responses[service]["ok"], responses["nobody"]["ok"]) == (True, False)
    assert responses["nobody"]["error"]["code"] == "E11020"


def test_requests_run_side_by_side(service):
    async def ten():
        return await asyncio.gather(*(RequestOrchestrator().route_request(service, "GET", "/slow/0.2") for _ in range(4)))

    assert asyncio.run(ten()) == [{"slow": True}] * 4
