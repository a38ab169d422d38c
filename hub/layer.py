"""`IntegrationLayer`: the six systems behind one async object, for layers that live in their own processes."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import redis
from django.conf import settings

from hub import tables
from hub.aio import in_thread
from hub.circuits.face import CircuitBreaker
from hub.conf import DEFAULT_CONFIG
from hub.errors import ErrorCode, IntegrationError
from hub.events.face import EventBus
from hub.redis_client import client
from hub.routing.face import RequestOrchestrator
from hub.telemetry.face import Observability
from registry_app.face import ServiceRegistry
from sagas.face import SagaOrchestrator


class IntegrationLayer:
    """The hub in this process: `await start()`, use the systems, `await stop()`; or ``async with``.

    `redis_url` is the hub's Redis. Left out, or given as the documented default ``redis://localhost:6379``, it is
    ``REDIS_URL``, else that of a running ``manage.py up``, else the default. The database is ``DATABASE_URL``, else that of
    a running ``manage.py up``, else the SQLite file of this checkout. `observability_output_file` gets each span as a JSON line.
    """

    def __init__(self, redis_url: str | None = None, observability_output_file: str | None = None) -> None:
        _use_redis(redis_url)
        self.service_registry = ServiceRegistry()
        self.event_bus = EventBus()
        self.circuit_breaker = CircuitBreaker()
        self.request_orchestrator = RequestOrchestrator()
        self.saga_orchestrator = SagaOrchestrator()
        self.observability = Observability(observability_output_file)
        self._running = False

    async def start(self) -> None:
        """Check that Redis and the database are there; E11933, E11940, E11941, E11943 say what is missing."""
        await in_thread(_check_redis)
        await in_thread(tables.bring_up_to_date)
        self._running = True

    async def stop(self) -> None:
        """Stop listening and hand over what was recorded; harmless when it was not started."""
        if self._running:
            self._running = False
            await self.event_bus.stop()
            await self.observability.flush()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        await self.stop()

    def is_running(self) -> bool:
        return self._running

    async def health_check(self) -> dict[str, Any]:
        """Return ``{healthy, running, redis, database, services}``; each of redis and database is "ok" or an error's text."""
        answers = {"redis": await _answer(_check_redis), "database": await _answer(tables.check)}
        healthy = self._running and set(answers.values()) == {"ok"}
        services = await self.service_registry.get_health_summary() if answers["database"] == "ok" else None
        return {"healthy": healthy, "running": self._running, **answers, "services": services}


_in_use: list[str] = []
"""The Redis of this process, once a layer was made: connections to it are kept, so there is no second one."""


def _use_redis(url: str | None) -> None:
    if url is not None and url.rstrip("/") not in (DEFAULT_CONFIG["redis"]["url"], settings.REDIS_URL.rstrip("/")):
        if _in_use:
            raise IntegrationError(
                ErrorCode.CONFIG_INVALID,
                f"this process is at the hub of {_without_password(_in_use[0])} already",
                recovery_suggestion="one process talks to one hub: make the other layer in another process",
            )
        settings.REDIS_URL = url
    _in_use[:] = [settings.REDIS_URL]


def _check_redis() -> None:
    try:
        client().ping()
    except (redis.RedisError, OSError, ValueError) as exc:
        raise IntegrationError(
            ErrorCode.BROKER_UNAVAILABLE,
            f"Redis at {_without_password(settings.REDIS_URL)} does not answer: {exc}",
            recovery_suggestion="start it, set REDIS_URL, or run: python3 manage.py up",
        ) from exc


def _without_password(url: str) -> str:
    return url.rpartition("@")[2] if "@" in url else url


async def _answer(check: Any) -> str:
    try:
        await in_thread(check)
    except IntegrationError as exc:
        return " - ".join(filter(None, [str(exc), exc.details.get("cause")]))
    return "ok"
