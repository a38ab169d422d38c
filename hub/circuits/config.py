"""When a breaker opens, for how long, and what closes it again (pure); the values are checked where they are made."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from hub.errors import ErrorCode, IntegrationError

SLICES = 10
"""The window is counted in so many slices, and moves by one of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CircuitBreakerConfig:
    """When a breaker opens, for how long, and what closes it again; times in seconds.

    Errors: E11201 thresholds, E11202 times, E11203 probes.
    """

    failure_threshold: int = 5
    """Failures in a row that open it."""
    success_threshold: int = 2
    """Good probes that close it."""
    timeout_sec: float = 60.0
    """How long it stays open the first time; doubled each time the probes fail."""
    half_open_requests: int = 3
    """Probes that may be under way at once."""
    error_rate_threshold: float = 0.5
    """Share of failed calls in the window that opens it, once `minimum_calls` were seen."""
    minimum_calls: int = 10
    window_size_sec: float = 60.0
    slow_call_sec: float | None = None
    """A call that takes longer is slow; None counts none."""
    slow_rate_threshold: float = 0.5
    """Share of slow calls in the window that opens it, once `minimum_calls` were seen."""
    max_timeout_sec: float | None = None
    """The longest it stays open; None is ten times `timeout_sec`."""

    def __post_init__(self) -> None:
        """Refuse what no breaker can work with."""
        for name in ("failure_threshold", "success_threshold", "minimum_calls"):
            _check_number(name, getattr(self, name), 1, 1_000, ErrorCode.BREAKER_THRESHOLD_INVALID, whole=True)
        for name in ("error_rate_threshold", "slow_rate_threshold"):
            _check_number(name, getattr(self, name), 0.001, 1, ErrorCode.BREAKER_THRESHOLD_INVALID)
        for name in ("timeout_sec", "window_size_sec"):
            _check_number(name, getattr(self, name), 0.1, 86_400, ErrorCode.BREAKER_TIMEOUT_INVALID)
        for name in ("slow_call_sec", "max_timeout_sec"):
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name), 0.001, 86_400, ErrorCode.BREAKER_TIMEOUT_INVALID)
        _check_number("half_open_requests", self.half_open_requests, 1, 100, ErrorCode.BREAKER_PROBES_INVALID, whole=True)

    def with_overrides(self, overrides: dict[str, Any]) -> CircuitBreakerConfig:
        """Return the policy with an operator's values in place of its own."""
        return replace(self, **overrides) if overrides else self

    @property
    def max_open_ms(self) -> int:
        """Return the longest time that it stays open."""
        return int(1000 * (10 * self.timeout_sec if self.max_timeout_sec is None else self.max_timeout_sec))

    @property
    def slice_ms(self) -> int:
        """Return the length of one slice of the window."""
        return max(1, int(self.window_size_sec * 1000 / SLICES))

    @property
    def probes_wanted(self) -> int:
        """Return how many probes a half-open breaker may have let through, good ones included."""
        return max(self.half_open_requests, self.success_threshold)


CONFIG_FIELDS = tuple(item.name for item in fields(CircuitBreakerConfig))


def check_overrides(overrides: dict[str, Any]) -> dict[str, Any]:
    """Return an operator's values for a service, without those left empty; the errors of `CircuitBreakerConfig`."""
    given = {name: value for name, value in overrides.items() if name in CONFIG_FIELDS and value is not None}
    CircuitBreakerConfig(**given)
    return given


def _check_number(name: str, value: Any, low: float, high: float, code: ErrorCode, *, whole: bool = False) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and (isinstance(value, int) or not whole)
    if not is_number or not low <= value <= high:
        raise IntegrationError(code, f"{name} must be {low:g}..{high:g}, not {value!r:.40}")
