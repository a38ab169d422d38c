"""What `manage.py doctor` asks beyond `/readyz`: how Redis is set, clocks, settings."""

from __future__ import annotations

import time
from typing import Any, cast

from django.core import checks

from hub.console import health, workers
from hub.errors import ErrorCode, IntegrationError
from hub.events import presence
from hub.telemetry import readers
from sagas import catalog

CLOCK_TOLERANCE_SEC = 5.0
OLDEST_REDIS = (6, 2)


def redis_version() -> str:
    """Compare the server's version with the oldest that has what the hub uses; E11934."""
    with health.redis_errors():
        version: str = _info("server")["redis_version"]
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        raise IntegrationError(ErrorCode.BACKEND_UNSUPPORTED, f"Redis is {version}", recovery_suggestion="use 6.2 or newer, or Valkey")
    return version


def redis_eviction() -> str:
    """Make sure that a full Redis refuses instead of throwing queued work away; E11931."""
    with health.redis_errors():
        policy: str = _info("memory")["maxmemory_policy"]
    if policy != "noeviction":
        raise IntegrationError(
            ErrorCode.CONFIG_INVALID,
            f"Redis would throw away queued tasks when it is full (maxmemory-policy {policy})",
            recovery_suggestion="set maxmemory-policy noeviction",
        )
    return "noeviction"


def redis_persistence() -> str:
    """Make sure that queued work outlives a restart of Redis; E11931."""
    with health.redis_errors():
        appends = bool(_info("persistence")["aof_enabled"])
    if not appends:
        raise IntegrationError(
            ErrorCode.CONFIG_INVALID,
            "Redis forgets queued tasks and events when it restarts (appendonly no)",
            recovery_suggestion="set appendonly yes; sagas recover without it, other queued tasks do not",
        )
    return "append-only file is on"


def clock() -> str:
    """Compare this machine's clock with that of Redis; E11935."""
    with health.redis_errors():
        seconds, microseconds = cast("tuple[int, int]", workers.connection().time())
    skew_sec = time.time() - (seconds + microseconds / 1e6)
    if abs(skew_sec) > CLOCK_TOLERANCE_SEC:
        raise IntegrationError(
            ErrorCode.CLOCK_SKEW,
            f"this machine's clock is {skew_sec:+.1f} s from that of Redis",
            recovery_suggestion="set both by NTP",
        )
    return f"{abs(skew_sec):.1f} s from that of Redis"


def beat() -> str:
    """Look for a trace of beat: every 15 s it has the workers asked what they read; E11900."""
    with health.redis_errors():
        asked_sec_ago = readers.known().asked_sec_ago
    if asked_sec_ago is None:
        raise IntegrationError(
            ErrorCode.INTERNAL_ERROR,
            f"what beat sends every 15 s was not done in the last {readers.STILL_COUNTS_SEC:g} s: no probes, no pruning",
            recovery_suggestion="run: celery -A hub beat, and a worker of hub.control",
        )
    return f"the workers were asked {asked_sec_ago:.0f} s ago what they read"


def relay() -> str:
    """Look for a sign of life of a relay, which each gives every 15 s; E11900."""
    with health.redis_errors():
        sec_ago = presence.seen_sec_ago()
    if sec_ago is None or not presence.is_fresh(sec_ago):
        raise IntegrationError(
            ErrorCode.INTERNAL_ERROR,
            f"no relay was seen in the last {presence.FRESH_SEC:g} s: durable events wait",
            recovery_suggestion="run: manage.py relay",
        )
    return f"a relay was seen {sec_ago:.0f} s ago"


def settings() -> str:
    """Run the hub's system checks; the first that fails is E11931."""
    found = [message for message in checks.run_checks(tags=["hub"]) if message.is_serious()]
    if found:
        raise IntegrationError(ErrorCode.CONFIG_INVALID, f"{found[0].id}: {found[0].msg}", recovery_suggestion=found[0].hint)
    return "no system check fails"


def sagas() -> str:
    """Import the modules of HUB_SAGA_MODULES and read their definitions; E11931 and those of a wrong definition."""
    return f"{len(catalog.specs())} defined"


OF_REDIS: dict[str, health.Check] = {
    "redis version": redis_version,
    "redis eviction": redis_eviction,
    "redis persistence": redis_persistence,
    "beat": beat,
    "relay": relay,
    "clock": clock,
}
OF_THIS_PROCESS: dict[str, health.Check] = {"settings": settings, "sagas": sagas}


def examine() -> list[health.Finding]:
    """Run every check. A Redis that failed the first ones is not asked the rest: each would wait in vain, or say what follows."""
    found = health.examine(health.READINESS)
    is_there = all(finding.is_ok for finding in found if finding.name == "redis")
    return [*found, *health.examine(OF_REDIS if is_there else dict.fromkeys(OF_REDIS, _not_asked)), *health.examine(OF_THIS_PROCESS)]


def _not_asked() -> str:
    raise IntegrationError(ErrorCode.BROKER_UNAVAILABLE, "not asked: see what is said of Redis")


def _info(section: str) -> dict[str, Any]:
    return cast("dict[str, Any]", workers.connection().info(section))
