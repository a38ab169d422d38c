"""What the hub needs in order to work, one check each; shared by `/readyz` and `manage.py doctor`.

A check returns what it found, in words, or raises `IntegrationError` with the code of what is missing. Messages are fit
for everybody's eyes; addresses and causes are in `details` and shown by `doctor` only.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import redis
from django.db import Error as AnyDatabaseError
from django.db import connection

from hub import tables
from hub.celery import QUEUES
from hub.circuits import services as breakers
from hub.console import workers
from hub.errors import ErrorCode, IntegrationError
from hub.outages import outage

Check = Callable[[], str]
LEAST_FREE_BYTES = 1_000_000
"""With less on the disk of an SQLite file, the next moment's rows find no room."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The outcome of one check; `code` is None when all is well."""

    name: str
    message: str
    duration_ms: float
    code: ErrorCode | None = None
    advice: str | None = None
    cause: str | None = None

    @property
    def is_ok(self) -> bool:
        return self.code is None

    def as_json(self) -> dict[str, object]:
        """Return what anybody may see of it."""
        code = str(self.code) if self.code else None
        return {"ok": self.is_ok, "message": self.message, "code": code, "advice": self.advice, "duration_ms": self.duration_ms}


def database() -> str:
    """Ask the database for one row, and whether it takes any; E11940, E11942."""
    with _database_errors():
        check_room()
    return f"{connection.vendor} answers"


def check_room() -> None:
    """Raise E11942 unless the database takes more rows; an error of the database when it is away."""
    try:
        (_try_postgres if connection.vendor == "postgresql" else _try_sqlite)()
    except AnyDatabaseError as exc:
        found = outage(exc)
        if found is not None and found.code is ErrorCode.DATABASE_FULL:
            raise _full(_first_line(exc)) from exc
        raise


# With so little memory a server writes these numbers to its disk, half a megabyte for a moment: one that is full refuses that.
_READ_ONLY_OR_FULL = """
SELECT current_setting('transaction_read_only'), count(*)
FROM set_config('work_mem', '64kB', true) AS little, LATERAL generate_series(1, 10000 + 0 * length(little))
"""


def _try_postgres() -> None:
    with connection.cursor() as cursor:
        cursor.execute(_READ_ONLY_OR_FULL)
        if cursor.fetchone()[0] == "on":
            raise IntegrationError(
                ErrorCode.DATABASE_FULL,
                "the database can only be read",
                recovery_suggestion="DATABASE_URL is to lead to the primary, and default_transaction_read_only to be off there",
            )


def _try_sqlite() -> None:
    directory = Path(connection.settings_dict["NAME"]).parent
    # First: without room for its index of the log, SQLite speaks of an input/output error.
    if directory.is_dir() and shutil.disk_usage(directory).free < LEAST_FREE_BYTES:
        raise _full()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _full(cause: str | None = None) -> IntegrationError:
    todo = "make room on its disk; what waits goes on by itself then"
    return IntegrationError(ErrorCode.DATABASE_FULL, "the disk of the database is full", {"cause": cause}, todo)


def broker() -> str:
    """Ask Redis for a change: a full one still answers questions; E11941."""
    with redis_errors():
        try:
            workers.try_change()
        except redis.ResponseError as exc:
            raise IntegrationError(
                ErrorCode.BROKER_UNAVAILABLE,
                "Redis answers, but takes no changes",
                {"cause": str(exc)},
                "give it memory (maxmemory) or room on its disk; a replica takes none: REDIS_URL is to lead to the primary",
            ) from exc
    return "Redis answers"


@cache  # Only success is kept (an exception never is), and what is applied stays applied while this code runs.
def migrations() -> str:
    """Compare the applied migrations with those of the code; E11933, E11940."""
    tables.check()
    return "all migrations are applied"


def worker() -> str:
    """Look for workers with a sign of life that together read all queues of the hub; E11941 names those that none reads."""
    with redis_errors():
        alive = workers.live_workers()
    unread = workers.unread(alive)
    if unread:
        broker()  # one that takes no changes takes no sign of life either
        raise IntegrationError(
            ErrorCode.BROKER_UNAVAILABLE,
            f"no live worker reads {', '.join(unread)}",
            recovery_suggestion=f"run: celery -A hub worker -Q {','.join(unread)}",
        )
    return f"{sum(not queues.isdisjoint(QUEUES) for queues in alive.values())} alive"


def circuits() -> str:
    """Ask whether this process shares its breakers with the fleet; E11240."""
    breakers.check_shared()
    return "circuit breakers are the fleet's"


READINESS: dict[str, Check] = {"database": database, "redis": broker, "circuits": circuits, "migrations": migrations, "worker": worker}


def examine(checks: dict[str, Check]) -> list[Finding]:
    """Run the checks in their order; one that fails does not stop the others."""
    return [_examine(name, check) for name, check in checks.items()]


def all_ok(findings: Iterable[Finding]) -> bool:
    """Tell whether nothing is missing."""
    return all(finding.is_ok for finding in findings)


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn what the Redis client raises into E11941."""
    try:
        yield
    except redis.RedisError as exc:
        raise _unavailable(ErrorCode.BROKER_UNAVAILABLE, "Redis", "REDIS_URL", exc) from exc


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except AnyDatabaseError as exc:
        raise _unavailable(ErrorCode.DATABASE_UNAVAILABLE, f"the database ({connection.vendor})", "DATABASE_URL", exc) from exc


def _unavailable(code: ErrorCode, what: str, setting: str, exc: Exception) -> IntegrationError:
    return IntegrationError(code, f"{what} does not answer", {"cause": _first_line(exc)}, f"start it, or correct {setting}")


def _first_line(exc: Exception) -> str:
    return str(exc).strip().split("\n")[0]


def _examine(name: str, check: Check) -> Finding:
    started = time.perf_counter()
    try:
        message, error = check(), None
    except IntegrationError as exc:
        message, error = exc.message, exc
    duration_ms = round((time.perf_counter() - started) * 1000, 1)
    if error is None:
        return Finding(name=name, message=message, duration_ms=duration_ms)
    cause = error.details.get("cause")
    return Finding(name=name, message=message, duration_ms=duration_ms, code=error.code, advice=error.recovery_suggestion, cause=cause)
