"""Guards for code of the layers: a context manager and a decorator, for plain and async code alike.

with guard("L04_model_gateway"):
    ...

@guarded("L04_model_gateway")
async def ask(prompt): ...
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, cast

from hub.aio import in_thread
from hub.circuits import breaker, verdicts
from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.fleet import Permit

F = TypeVar("F", bound=Callable[..., Any])


class guard:
    """Guard a block: CircuitOpen instead of entering it while the breaker is open; what it raises is judged and goes on.

    `lease_sec`: how long the block may take, should it be a probe; a good one that ends later closes nothing. An object
    guards one block at a time.
    """

    def __init__(self, service_name: str, config: CircuitBreakerConfig | None = None, *, lease_sec: float = breaker.LEASE_SEC) -> None:
        self._service_name = service_name
        self._config = config
        self._lease_sec = lease_sec
        self._entered: list[tuple[Permit, float]] = []

    def __enter__(self) -> Permit:
        permit = breaker.admit(self._service_name, self._config, lease_sec=self._lease_sec)
        self._entered.append((permit, time.monotonic()))
        return permit

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        permit, started = self._entered.pop()
        judgement = verdicts.GOOD if exc is None else verdicts.judge(exc)
        breaker.settle(permit, judgement, duration_sec=time.monotonic() - started)

    async def __aenter__(self) -> Permit:
        permit = await in_thread(breaker.admit, self._service_name, self._config, lease_sec=self._lease_sec)
        self._entered.append((permit, time.monotonic()))
        return permit

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        permit, started = self._entered.pop()
        judgement = verdicts.GOOD if exc is None else verdicts.judge(exc)
        await in_thread(breaker.settle, permit, judgement, duration_sec=time.monotonic() - started)


def guarded(service_name: str, config: CircuitBreakerConfig | None = None, *, lease_sec: float = breaker.LEASE_SEC) -> Callable[[F], F]:
    """Guard every call of a function, plain or async; see `guard`."""

    def decorate(func: F) -> F:
        @functools.wraps(func)
        def plain(*args: Any, **kwargs: Any) -> Any:
            with guard(service_name, config, lease_sec=lease_sec):
                return func(*args, **kwargs)

        @functools.wraps(func)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            async with guard(service_name, config, lease_sec=lease_sec):
                return await func(*args, **kwargs)

        return cast(F, awaited if inspect.iscoroutinefunction(func) else plain)

    return decorate
