"""What a service says about itself, and what is said about it (pure)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from packaging.version import InvalidVersion, Version

from hub.errors import ErrorCode, IntegrationError
from hub.json_values import check_json
from hub.telemetry.redaction import Redactor, is_secret_key
from registry_app import endpoints
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.json_fields import as_object, is_count

__all__ = ["HealthCheck", "HealthCheckType", "ServiceInfo", "ServiceStatus", "check_name", "instance_id"]

MAX_METADATA_BYTES = 16_384
_SECRETS = Redactor()
MAX_LABELS = 64
MAX_WEIGHT = 1_000

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,63}")
_ID_NAMESPACE = uuid.UUID("6a3c0b0e-6a55-5c11-9a11-0c9a5a6f1111")


class ServiceStatus(StrEnum):
    """How well an instance is, as far as the evidence goes."""

    HEALTHY = "healthy"
    """It passed its checks."""
    DEGRADED = "degraded"
    """It answers, but slowly, with failing requests, or it has still to prove that it stopped flapping."""
    UNHEALTHY = "unhealthy"
    """It failed its checks; it is chosen only when nobody else is left."""
    UNKNOWN = "unknown"
    """Nothing was seen of it yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceInfo:
    """One instance of a service: what it says about itself, and how the hub finds it.

    The id follows from name and endpoint, so every process, and every registration again, means the same instance.
    """

    service_id: str
    service_name: str
    service_version: str
    endpoint: str
    health_check: HealthCheck | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    capabilities: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    weight: int = 100
    status: ServiceStatus = ServiceStatus.UNKNOWN
    status_reason: str = ""

    @classmethod
    def create(
        cls,
        service_name: str,
        service_version: str,
        endpoint: str,
        health_check: HealthCheck | None = None,
        metadata: Mapping[str, Any] | None = None,
        capabilities: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        *,
        weight: int = 100,
    ) -> ServiceInfo:
        """Build a checked description.

        Errors: E11001 name, E11002 version, E11003 to E11006 and E11084 endpoint, E11007 and E11062 metadata, E11008 labels.
        """
        place = endpoints.parse_endpoint(endpoint)
        name = check_name(service_name)
        return cls(
            service_id=instance_id(name, place.url),
            service_name=name,
            service_version=_check_version(service_version),
            endpoint=place.url,
            health_check=health_check.below(place) if health_check else None,
            metadata=_check_metadata(metadata),
            capabilities=_check_labels(capabilities, "capabilities"),
            tags=_check_labels(tags, "tags"),
            weight=_check_weight(weight),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON, as ``hub.registry.register`` takes it and ``hub.registry.lookup`` gives it."""
        plain = asdict(self)
        plain["health_check"] = self.health_check.to_dict() if self.health_check else None
        plain["status"] = self.status.value
        return plain

    @classmethod
    def from_dict(cls, given: object) -> ServiceInfo:
        """Read plain JSON; what only the hub says (id, status) is ignored. Errors: E11901 to E11903, and those of `create`."""
        data = as_object(given, "service", known=[item.name for item in fields(cls)])
        for name in ("service_name", "service_version", "endpoint"):
            if data.get(name) is None:
                raise IntegrationError(ErrorCode.ARGUMENT_MISSING, f"service needs a {name}")
        check = data.get("health_check")
        return cls.create(
            data["service_name"],
            data["service_version"],
            data["endpoint"],
            check if isinstance(check, HealthCheck | None) else HealthCheck.from_dict(check),
            data.get("metadata"),
            data.get("capabilities"),
            data.get("tags"),
            weight=data.get("weight", 100),
        )


def check_name(name: object) -> str:
    """Return a well-formed service name; E11001 for any other."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise IntegrationError(ErrorCode.SERVICE_NAME_INVALID, f"{ErrorCode.SERVICE_NAME_INVALID.text}, not {name!r:.80}")
    return name


def instance_id(service_name: str, canonical_endpoint: str) -> str:
    """Return the id of the instance at an endpoint: the same in every process, and again after a restart."""
    return str(uuid.uuid5(_ID_NAMESPACE, f"{service_name}\n{canonical_endpoint}"))


def _check_version(version: object) -> str:
    try:
        if isinstance(version, str) and len(version) <= 64 and version == version.strip():
            Version(version)
            return version
    except InvalidVersion:
        pass
    raise IntegrationError(
        ErrorCode.SERVICE_VERSION_INVALID,
        f"not a version: {version!r:.80}",
        recovery_suggestion="send one such as 0.1.0, 2.0.0-rc.1 or 1.4.0+3fa9c1",
    )


def _check_metadata(metadata: object) -> dict[str, Any]:
    if metadata is None:
        return {}
    scalars = str | int | float | bool
    if not isinstance(metadata, Mapping) or not all(isinstance(value, scalars) for value in metadata.values()):
        raise IntegrationError(ErrorCode.METADATA_INVALID, "metadata must be a flat object of strings, numbers and booleans")
    flat = dict(metadata)
    if secret := next((str(name) for name, value in flat.items() if is_secret_key(str(name)) or _SECRETS.hides(str(value))), None):
        raise IntegrationError(ErrorCode.METADATA_INVALID, f"metadata {secret[:80]!r} looks like a secret; everybody may read metadata")
    check_json(flat, what="metadata", max_bytes=MAX_METADATA_BYTES, too_large=ErrorCode.METADATA_TOO_LARGE)
    return flat


def _check_labels(labels: object, what: str) -> list[str]:
    if labels is None:
        return []
    if isinstance(labels, str | Mapping) or not isinstance(labels, Iterable):
        raise IntegrationError(ErrorCode.TAG_INVALID, f"{what} must be a list of words")
    given = list(labels)
    for label in given:
        if not is_label(label):
            raise IntegrationError(ErrorCode.TAG_INVALID, f"malformed word in {what}: {label!r:.80}")
    found = list(dict.fromkeys(given))
    if len(found) > MAX_LABELS:
        raise IntegrationError(ErrorCode.TAG_INVALID, f"{len(found)} {what} are too many, the limit is {MAX_LABELS}")
    return found


def is_label(label: object) -> bool:
    """Tell whether a tag or capability is a plain word of at most 64 characters."""
    return isinstance(label, str) and bool(_LABEL.fullmatch(label))


def _check_weight(weight: object) -> int:
    if not is_count(weight) or not 1 <= weight <= MAX_WEIGHT:
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"weight must be a whole number from 1 to {MAX_WEIGHT}, not {weight!r:.80}")
    return weight
