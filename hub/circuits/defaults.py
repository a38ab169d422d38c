"""The policy of a breaker whose caller names none."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from hub.circuits.config import CircuitBreakerConfig


def default_config() -> CircuitBreakerConfig:
    """Return the policy of the settings (``HUB_CIRCUIT_*``)."""
    hub = settings.HUB
    if _default[0] is not hub:
        _default[:] = [hub, _read_config(hub)]
    found: CircuitBreakerConfig = _default[1]
    return found


_default: list[Any] = [None, None]


def _read_config(hub: Any) -> CircuitBreakerConfig:
    return CircuitBreakerConfig(
        failure_threshold=hub.circuit_failure_threshold,
        success_threshold=hub.circuit_success_threshold,
        timeout_sec=hub.circuit_timeout_sec,
        half_open_requests=hub.circuit_half_open_requests,
        error_rate_threshold=hub.circuit_error_rate_threshold,
        minimum_calls=hub.circuit_minimum_calls,
        window_size_sec=hub.circuit_window_size_sec,
    )
