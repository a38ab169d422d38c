"""What comes back from a routed request (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hub.errors import IntegrationError


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What one attempt brought: the status, lower-case headers and the decoded body of a service."""

    status_code: int
    headers: dict[str, str]
    body: Any = field(repr=False)
    connect_sec: float = 0.0
    server_sec: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try of a request: which instance, how its breaker stood, and how it ended; times in milliseconds."""

    service_id: str
    why: str
    breaker: str
    outcome: str
    code: str = ""
    status_code: int | None = None
    connect_ms: float = 0.0
    server_ms: float = 0.0
    waited_ms: float = 0.0
    """Backoff before this try."""
    task_id: str = ""
    """The Celery task it was, where the service is a Celery worker."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON; without a task where there was none."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "task_id" or self.task_id}


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteResult:
    """A good answer, and how it was come by; `duration_ms` covers all attempts."""

    status_code: int
    headers: dict[str, str]
    body: Any = field(repr=False)
    service_id: str
    attempts: int
    duration_ms: float
    trace_id: str
    correlation_id: str
    decision: dict[str, Any] = field(default_factory=dict)
    """Instance and why, breaker state, each attempt, milliseconds in queue, connecting and at the server."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON, as the task ``hub.requests.route`` gives it."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, kw_only=True, slots=True)
class BroadcastOutcome:
    """How one service of a broadcast answered: `kind` is ok, refused, failed, timeout, circuit_open, unavailable or cancelled."""

    service_name: str
    kind: str
    result: RouteResult | None = None
    error: IntegrationError | None = None

    @property
    def ok(self) -> bool:
        """Tell whether the service gave a good answer."""
        return self.result is not None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON: ``ok``, ``outcome`` and either ``response`` or ``error``, so that neither is taken for the other."""
        plain: dict[str, Any] = {"ok": self.ok, "outcome": self.kind}
        if self.result is not None:
            return plain | {"response": self.result.as_dict()}
        return plain | {"error": _error_dict(self.error)}


def _error_dict(error: IntegrationError | None) -> dict[str, Any]:
    if error is None:
        return {}
    found = {"code": str(error.code), "message": error.message, "recovery_suggestion": error.recovery_suggestion}
    known = {**error.details, **vars(error)}
    extra = {name: known.get(name) for name in ("outcome", "status_code", "body", "retry_after_sec")}
    return found | {name: value for name, value in extra.items() if value is not None}
