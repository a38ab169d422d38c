"""How the hub finds out whether an instance is well: the check that a service asks for (pure)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from hub.errors import ErrorCode, IntegrationError
from hub.json_values import check_json
from registry_app import endpoints
from registry_app.json_fields import as_object, as_tuple, is_count, is_number

MIN_INTERVAL_SEC, MAX_INTERVAL_SEC, MAX_TIMEOUT_SEC = 1.0, 86_400.0, 60.0
MAX_TEXTS_BYTES = 65_536


class HealthCheckType(StrEnum):
    """How the hub finds out whether an instance is well."""

    HTTP = "http"
    """GET the check endpoint; status, body and latency count."""
    TCP = "tcp"
    """Open a connection to ``host:port``."""
    GRPC = "grpc"
    """Ask the standard gRPC health service at ``host:port``."""
    REDIS = "redis"
    """PING the server at ``redis://host:port``."""
    TTL = "ttl"
    """The service sends a heartbeat each ``interval_sec``; missing ``failure_threshold`` of them in a row is a failure."""
    CELERY = "celery"
    """The queue named by the check endpoint has a live consumer that knows ``tasks``, and it moves."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A check of one instance; times in seconds, thresholds in checks in a row.

    An HTTP ``endpoint`` may be a path below the service's own endpoint (``/health``); an empty one means the service's
    own endpoint. Errors: E11801 to E11804, E11905 for texts that no database keeps.
    """

    check_type: HealthCheckType
    endpoint: str = ""
    interval_sec: float = 30
    timeout_sec: float = 5
    failure_threshold: int = 3
    success_threshold: int = 1
    deregister_after: int = 0
    """Failures in a row after which the instance leaves the registry; 0 means never."""
    expected_status: tuple[int, ...] = ()
    """HTTP: status codes that are well; empty means any 2xx."""
    body_contains: str = ""
    """HTTP: text that must be in the first 64 KiB of the answer."""
    degraded_after_sec: float | None = None
    """Answers slower than this are well but degraded."""
    grpc_service: str = ""
    """gRPC: the service name to ask for; empty asks for the whole server."""
    tasks: tuple[str, ...] = ()
    """CELERY: task names that a consumer of the queue must have registered."""
    max_message_age_sec: float | None = None
    """CELERY: a queue whose oldest message is older is degraded."""

    def __post_init__(self) -> None:
        """Refuse what cannot be checked as it stands."""
        if not isinstance(self.check_type, HealthCheckType):
            raise IntegrationError(
                ErrorCode.CHECK_TYPE_INVALID,
                f"no such check type: {str(self.check_type)[:80]!r}",
                recovery_suggestion=f"use one of {', '.join(HealthCheckType)}",
            )
        self._check_times()
        self._check_expectations()
        self._check_endpoint()

    def _check_times(self) -> None:
        numbers = (self.interval_sec, self.timeout_sec, *filter(None, (self.degraded_after_sec, self.max_message_age_sec)))
        if not all(is_number(number) and number > 0 for number in numbers):
            raise _bad_interval("interval, timeout and limits must be positive numbers of seconds")
        if not MIN_INTERVAL_SEC <= self.interval_sec <= MAX_INTERVAL_SEC:
            raise _bad_interval(f"interval must be {MIN_INTERVAL_SEC:g} to {MAX_INTERVAL_SEC:g} seconds, not {self.interval_sec:g}")
        if self.timeout_sec > MAX_TIMEOUT_SEC:
            raise _bad_interval(f"timeout must be at most {MAX_TIMEOUT_SEC:g} seconds, not {self.timeout_sec:g}")
        if self.timeout_sec > self.interval_sec and self.check_type is not HealthCheckType.TTL:
            raise _bad_interval(f"timeout {self.timeout_sec:g} s is longer than the interval {self.interval_sec:g} s")

    def _check_expectations(self) -> None:
        counts = (self.failure_threshold, self.success_threshold)
        if not all(is_count(count) and 1 <= count <= 1000 for count in counts) or not is_count(self.deregister_after):
            raise IntegrationError(ErrorCode.CHECK_INTERVAL_INVALID, "thresholds must be whole numbers from 1 to 1000")
        if not all(is_count(status) and 100 <= status <= 599 for status in self.expected_status):
            raise IntegrationError(ErrorCode.CHECK_EXPECTATION_INVALID, f"not HTTP status codes: {self.expected_status!r:.80}")
        texts = (self.endpoint, self.body_contains, self.grpc_service, *self.tasks)
        if not all(isinstance(text, str) and len(text) <= endpoints.MAX_URL_LENGTH for text in texts):
            raise IntegrationError(ErrorCode.CHECK_EXPECTATION_INVALID, "texts of a check must be strings of at most 512 characters")
        check_json(texts, what="health_check", max_bytes=MAX_TEXTS_BYTES)

    def _check_endpoint(self) -> None:
        kind, endpoint = self.check_type, self.endpoint
        if kind is HealthCheckType.TTL or not endpoint or (kind is HealthCheckType.HTTP and endpoint.startswith("/")):
            return
        try:
            _parse_check_endpoint(kind, endpoint)
        except IntegrationError as exc:
            raise _bad_check_endpoint(exc) from None

    def below(self, service_endpoint: endpoints.Endpoint) -> HealthCheck:
        """Return the check with its endpoint spelled out, where it was given relative to the service's own."""
        if self.check_type is HealthCheckType.TTL:
            return self
        if self.check_type is HealthCheckType.HTTP and self.endpoint.startswith("/") and service_endpoint.takes_requests:
            whole = f"{service_endpoint.url}{self.endpoint}"
        else:
            whole = self.endpoint or _default_check_endpoint(self.check_type, service_endpoint)
        return replace(self, endpoint=whole)

    @property
    def ttl_sec(self) -> float:
        """Return after how many seconds without a heartbeat a TTL check fails."""
        return self.interval_sec * self.failure_threshold

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON, without what is left at its default."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        defaults = {item.name: item.default for item in fields(self)}
        return {key: _plain(value) for key, value in plain.items() if key == "check_type" or value != defaults[key]}

    @classmethod
    def from_dict(cls, given: object) -> HealthCheck:
        """Read plain JSON; E11901 to E11903 for its shape, E118xx for its values."""
        data = as_object(given, "health_check", known=[item.name for item in fields(cls)])
        if "check_type" not in data:
            raise IntegrationError(ErrorCode.ARGUMENT_MISSING, "health_check needs a check_type")
        kind = str(data["check_type"]).lower()
        if kind not in set(HealthCheckType):
            raise IntegrationError(
                ErrorCode.CHECK_TYPE_INVALID,
                f"no such check type: {kind[:80]!r}",
                recovery_suggestion=f"use one of {', '.join(HealthCheckType)}",
            )
        lists: dict[str, Any] = {key: as_tuple(data[key], key) for key in ("expected_status", "tasks") if key in data}
        named: dict[str, Any] = {**data, **lists, "check_type": HealthCheckType(kind)}
        return cls(**named)


def _parse_check_endpoint(kind: HealthCheckType, endpoint: str) -> None:
    match kind:
        case HealthCheckType.HTTP:
            endpoints.parse_endpoint(endpoint.partition("?")[0], schemes=("http", "https"))
        case HealthCheckType.CELERY:
            endpoints.parse_endpoint(f"celery://{endpoint.removeprefix('celery://')}", schemes=("celery",))
        case _:
            endpoints.parse_host_port(endpoint.removesuffix("/0"), scheme=kind.value)


def _default_check_endpoint(kind: HealthCheckType, place: endpoints.Endpoint) -> str:
    if (kind is HealthCheckType.CELERY) == place.takes_requests:
        raise IntegrationError(
            ErrorCode.CHECK_ENDPOINT_INVALID,
            f"a {kind} check of {place.url} needs its own endpoint",
            recovery_suggestion="name the queue of a CELERY check, the host and port of any other",
        )
    if kind is HealthCheckType.CELERY:
        return place.host
    return place.url if kind is HealthCheckType.HTTP else f"{endpoints.bracketed(place.host)}:{place.port}"


def _bad_check_endpoint(exc: IntegrationError) -> IntegrationError:
    return IntegrationError(ErrorCode.CHECK_ENDPOINT_INVALID, exc.message, recovery_suggestion=exc.recovery_suggestion)


def _bad_interval(message: str) -> IntegrationError:
    return IntegrationError(ErrorCode.CHECK_INTERVAL_INVALID, message, recovery_suggestion="the defaults are 30 and 5")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else getattr(value, "value", value)
