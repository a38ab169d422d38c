"""The hub's public face: ``from hub import IntegrationLayer, ServiceInfo, SagaDefinition, ...``.

Names are loaded when they are first asked for (PEP 562): the values need no Django, and what does sets it up itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_VALUES = {
    "ErrorCode": "hub.error_codes",
    "IntegrationError": "hub.errors",
    "OutcomeUnknown": "hub.errors",
    "Refused": "hub.errors",
    "DEFAULT_CONFIG": "hub.conf",
    "HealthCheck": "registry_app.values",
    "HealthCheckType": "registry_app.values",
    "ServiceInfo": "registry_app.values",
    "ServiceStatus": "registry_app.values",
    "RequestContext": "hub.routing.context",
    "EventMessage": "hub.events.messages",
    "CircuitBreakerConfig": "hub.circuits.config",
    "CircuitState": "hub.circuits.policy",
    "SagaDefinition": "sagas.definitions",
    "SagaStep": "sagas.definitions",
    "SagaStatus": "sagas.machine",
    "StepStatus": "sagas.machine",
    "TraceSpan": "hub.telemetry.values",
    "Metric": "hub.telemetry.values",
}
_NEEDS_DJANGO = {"IntegrationLayer": "hub.layer", "app": "hub.celery", "submit": "hub.sending", "submit_many": "hub.sending"}

__all__ = sorted([*_VALUES, "IntegrationLayer", "submit", "submit_many"])


def __getattr__(name: str) -> Any:
    if name in _VALUES:
        return getattr(import_module(_VALUES[name]), name)
    if name in _NEEDS_DJANGO:
        from hub.setup import ensure_django

        ensure_django()
        return getattr(import_module(_NEEDS_DJANGO[name]), name)
    raise AttributeError(f"module 'hub' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
