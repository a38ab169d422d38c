"""The registry's tasks: what layers send (`hub.registry.*`), and what beat sends (`hub.control.*`)."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from django.conf import settings

from hub import database_clock
from hub.errors import ErrorCode, IntegrationError
from hub.public_task import PublicTask
from registry_app import background, gauges, health, history, lookup, maintenance, preservation, prober, services
from registry_app.values import ServiceInfo


@shared_task(base=PublicTask, name="hub.registry.register")
def register(service: Any, owner: str | None = None, generation: int = 0) -> dict[str, str]:
    """Register an instance, described as `ServiceInfo.from_dict` takes it; answer ``{service_id, status}``."""
    return _standing(services.register(ServiceInfo.from_dict(service), owner=owner, generation=generation))


@shared_task(base=PublicTask, name="hub.registry.deregister")
def deregister(service_id: str, owner: str | None = None, generation: int = 0) -> dict[str, str]:
    """Take an instance out; answer ``{service_id, status}``."""
    return _standing(services.deregister(_text(service_id, "service_id"), owner=owner, generation=generation))


@shared_task(base=PublicTask, name="hub.registry.heartbeat")
def heartbeat(service_id: str, owner: str | None = None, generation: int = 0) -> dict[str, str]:
    """Take note that an instance is alive; answer ``{service_id, status}``."""
    return _standing(services.heartbeat(_text(service_id, "service_id"), owner=owner, generation=generation))


@shared_task(base=PublicTask, name="hub.registry.lookup")
def look_up(service_name: str, version: str | None = None) -> dict[str, Any]:
    """Answer the instance that the next request would go to."""
    lookup.forget()  # who asks by a task may just have registered by another, in another process
    return lookup.choose(_text(service_name, "service_name"), version=version, for_requests=False).to_dict()


@shared_task(name="hub.control.probe_due", ignore_result=True)
def probe_due() -> None:
    """Tell how the registry stands, begin the probes that are due, end maintenances, and see to a freeze: is it over, whom does it hold?"""
    gauges.tell(now=database_clock.moment())
    background.start_due()
    maintenance.end_due(now=database_clock.moment())
    preservation.review()
    health.put_back(at=database_clock.moment())


@shared_task(name="hub.control.probe")
def probe(service_id: str) -> str | None:
    """Probe one instance now; answer its status."""
    return prober.probe_now(service_id)


@shared_task(name="hub.control.prune_registry", ignore_result=True)
def prune_registry() -> None:
    """Delete history and instances that are older than the retention."""
    history.prune(now=database_clock.moment(), keep_days=settings.HUB.registry_retention_days)


def _standing(info: ServiceInfo) -> dict[str, str]:
    return {"service_id": info.service_id, "status": info.status.value}


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"{name} must be a string, not {type(value).__name__}")
    return value
