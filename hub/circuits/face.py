"""``integration.circuit_breaker``: the async face of this room."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any

from hub.aio import in_thread, in_waiting_thread
from hub.circuits import breaker, history, services, verdicts
from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.fleet import Permit
from hub.circuits.policy import CircuitState
from hub.circuits.snapshots import CircuitSnapshot
from hub.errors import ErrorCode, IntegrationError


class CircuitBreaker:
    """Keep a failing service from being called, in all processes of the fleet at once."""

    async def execute(
        self,
        service_name: str,
        func: Callable[..., Any] | Callable[..., Awaitable[Any]],
        *args: Any,
        config: CircuitBreakerConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call `func`, plain (in a thread) or async, under a breaker; what it raises is judged and goes on.

        Errors: CircuitOpen (E11220, E11221, E11223), E11204 and E11260 for the name, E11902 for what cannot be called.
        """
        if not callable(func):
            raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"func must be a function, not {type(func).__name__}")
        permit, started = await _admit(service_name, config), time.monotonic()
        try:
            result = await _call(func, *args, **kwargs)
        except BaseException as exc:
            await _settle(permit, verdicts.judge(exc), time.monotonic() - started)
            raise
        await _settle(permit, verdicts.GOOD, time.monotonic() - started)
        return result

    async def get_state(self, service_name: str) -> CircuitSnapshot:
        """Return how a breaker stands; one that was never used is closed."""
        return await in_thread(breaker.look, service_name)

    async def get_all_states(self) -> dict[str, CircuitSnapshot]:
        """Return every breaker of the fleet, by name."""
        found = await in_thread(services.all_states)
        return {one.service_name: one for one in found}

    async def reset_circuit(self, service_name: str, *, by: str = "api", why: str = "reset") -> CircuitSnapshot:
        """Close a breaker and forget what it counted, a manual state included."""
        return await _recorded(services.reset, service_name, by=by, why=why)

    async def force_open(
        self, service_name: str, *, by: str = "api", why: str = "forced open", for_sec: float = services.DEFAULT_FORCE_SEC
    ) -> CircuitSnapshot:
        """Refuse all calls in the whole fleet, for a time (an hour unless said otherwise)."""
        return await _recorded(services.force, service_name, CircuitState.FORCED_OPEN, by=by, why=why, for_sec=for_sec)

    async def force_close(
        self, service_name: str, *, by: str = "api", why: str = "forced closed", for_sec: float = services.DEFAULT_FORCE_SEC
    ) -> CircuitSnapshot:
        """Let all calls through in the whole fleet, for a time (an hour unless said otherwise)."""
        return await _recorded(services.force, service_name, CircuitState.FORCED_CLOSED, by=by, why=why, for_sec=for_sec)

    async def metrics_only(
        self, service_name: str, *, by: str = "api", why: str = "metrics only", for_sec: float = services.DEFAULT_FORCE_SEC
    ) -> CircuitSnapshot:
        """Let all calls through and record what the rules would have done, for a time."""
        return await _recorded(services.force, service_name, CircuitState.METRICS_ONLY, by=by, why=why, for_sec=for_sec)


async def _admit(service_name: str, config: CircuitBreakerConfig | None) -> Permit:
    if breaker.answers_from_memory(service_name):
        return breaker.admit(service_name, config)
    return await in_thread(breaker.admit, service_name, config)


async def _settle(permit: Permit, judgement: verdicts.Judgement, duration_sec: float) -> None:
    if judgement.ok and not breaker.is_news(permit, ok=True):
        breaker.settle(permit, judgement, duration_sec=duration_sec)
    else:
        await in_thread(breaker.settle, permit, judgement, duration_sec=duration_sec)


async def _call(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if inspect.iscoroutinefunction(func):
        return await func(*args, **kwargs)
    result = await in_waiting_thread(func, *args, **kwargs)
    return await result if inspect.isawaitable(result) else result


async def _recorded(change: Callable[..., CircuitSnapshot], *args: Any, **kwargs: Any) -> CircuitSnapshot:
    snapshot = await in_thread(change, *args, **kwargs)
    await in_thread(history.record_transitions)
    return snapshot
