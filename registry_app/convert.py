"""Between rows and values."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from registry_app.checks import HealthCheck
from registry_app.models import Service
from registry_app.rules import TRIAL_SEC, Health, Thresholds
from registry_app.values import ServiceInfo, ServiceStatus


def info_of(row: Service) -> ServiceInfo:
    """Return an instance as its layer knows it."""
    return ServiceInfo(
        service_id=row.service_id,
        service_name=row.service_name,
        service_version=row.service_version,
        endpoint=row.endpoint,
        health_check=check_of(row),
        metadata=row.metadata,
        capabilities=row.capabilities,
        tags=row.tags,
        weight=row.weight,
        status=ServiceStatus(row.status),
        status_reason=row.reason,
    )


def described(info: ServiceInfo) -> dict[str, Any]:
    """Return the columns that an instance says about itself."""
    return {
        "service_version": info.service_version,
        "weight": info.weight,
        "tags": info.tags,
        "capabilities": info.capabilities,
        "metadata": info.metadata,
        "check_type": info.health_check.check_type.value if info.health_check else "none",
        "health_check": info.health_check.to_dict() if info.health_check else None,
    }


_OF_A_CHECK = frozenset(item.name for item in fields(HealthCheck))


def check_of(row: Service) -> HealthCheck | None:
    """Return the check of an instance, without what only a newer hub knows: while one is deployed, both read the rows."""
    if not row.health_check:
        return None
    return HealthCheck.from_dict({name: value for name, value in row.health_check.items() if name in _OF_A_CHECK})


def thresholds_of(check: HealthCheck | None) -> Thresholds:
    """Return how many findings in a row change the status; without a check the defaults, and a trial after a silence."""
    if check is None:
        return Thresholds(trial_after_sec=TRIAL_SEC)
    return Thresholds(failure_threshold=check.failure_threshold, success_threshold=check.success_threshold)


def health_of(row: Service) -> Health:
    """Return the health columns of a row as a value."""
    return Health(
        status=ServiceStatus(row.status),
        reason=row.reason,
        successes=row.successes,
        failures=row.failures,
        slow_answers=row.slow_answers,
        penalty=row.penalty,
        penalty_at=row.penalty_at.timestamp() if row.penalty_at else 0.0,
        failing_since=row.failing_since.timestamp() if row.failing_since else None,
    )


def health_columns(health: Health) -> dict[str, Any]:
    """Return a health as columns."""
    return {
        "status": health.status.value,
        "reason": health.reason,
        "successes": health.successes,
        "failures": health.failures,
        "slow_answers": health.slow_answers,
        "penalty": health.penalty,
        "penalty_at": _moment(health.penalty_at or None),
        "failing_since": _moment(health.failing_since),
    }


def _moment(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
