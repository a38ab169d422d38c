"""The tasks and the Python face, as layers use them."""

import asyncio

import pytest
from celery import Celery
from django.conf import settings

from registry_app.face import ServiceRegistry
from registry_app.models import Service
from registry_app.values import ServiceInfo
from tests.registry.samples import describe, row_of


@pytest.fixture
def layer():
    """A layer with Celery and nothing of ours."""
    with Celery("l02", broker=settings.REDIS_URL, backend=settings.REDIS_URL, set_as_current=False) as app:
        yield lambda task, **kwargs: app.send_task(task, kwargs=kwargs, queue="hub").get(timeout=10, propagate=False)


@pytest.mark.django_db(transaction=True)
def test_a_layer_registers_beats_looks_up_and_leaves(worker, layer):
    service = {
        "service_name": "L02_runtime",
        "service_version": "0.1.0",
        "endpoint": "http://127.0.0.1:8002",
        "health_check": {"check_type": "http", "endpoint": "/health", "interval_sec": 60},
        "metadata": {"zone": "a"},
        "capabilities": ["execute"],
        "tags": ["gpu"],
    }

    answer = layer("hub.registry.register", service=service)
    service_id = answer["service_id"]
    assert answer == {"service_id": service_id, "status": "unknown"}
    assert layer("hub.registry.heartbeat", service_id=service_id) == answer
    found = layer("hub.registry.lookup", service_name="L02_runtime")
    assert (found["service_id"], found["endpoint"], found["metadata"]) == (service_id, "http://127.0.0.1:8002", {"zone": "a"})
    assert layer("hub.registry.deregister", service_id=service_id)["service_id"] == service_id

    gone = layer("hub.registry.lookup", service_name="L02_runtime")
    assert "E11020: no service 'L02_runtime' is registered" in str(gone)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("kwargs", "code"),
    [
        ({}, "E11901"),
        ({"service": {}, "colour": "red"}, "E11903"),
        ({"service": "L02"}, "E11902"),
        ({"service": {"service_name": "a"}}, "E11901"),
    ],
)
def test_a_refusal_reaches_a_layer_as_its_code(worker, layer, kwargs, code):
    assert code in str(layer("hub.registry.register", **kwargs))
    assert Service.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_the_face_has_the_names_of_the_seed():
    async def use():
        registry = ServiceRegistry()
        service = ServiceInfo.create(service_name="L03_tool_execution", service_version="0.1.0", endpoint="http://localhost:8003")
        await registry.register_service(service)
        found = await registry.get_service_by_name("L03_tool_execution")
        assert found == await registry.get_service(service.service_id) == (await registry.get_all_services())[0]
        await registry.heartbeat(service.service_id)
        summary = await registry.get_health_summary()
        await registry.deregister_service(service.service_id)
        return summary

    summary = asyncio.run(use())

    assert (summary["total_services"], summary["unknown"], summary["health_percentage"]) == (1, 1, 0.0)
    assert row_of(describe("L03_tool_execution", "http://localhost:8003")).deregistered_at
