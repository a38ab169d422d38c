"""The tables that this code needs: are they there, and who brings a SQLite file of one machine up to date."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from hub.errors import ErrorCode, IntegrationError
from hub.file_locks import try_lock
from hub.outages import outage

WAIT_SEC = 60.0


def check() -> None:
    """Compare the applied migrations with those of the code; E11933, E11940."""
    _refuse(_pending())


def _refuse(pending: list[str]) -> None:
    if pending:
        raise IntegrationError(
            ErrorCode.MIGRATIONS_PENDING,
            f"{len(pending)} migrations are not applied, first {pending[0]}",
            recovery_suggestion="run: manage.py migrate",
        )


def bring_up_to_date() -> None:
    """Apply what is pending to a SQLite file; a shared server is only checked. E11933, E11940, E11943.

    Of several processes that start at once one does it, and the others wait: each would else make the same tables.
    """
    pending = _pending()
    if not pending or connection.vendor != "sqlite":
        return _refuse(pending)
    with _alone(Path(f"{connection.settings_dict['NAME']}.migrating")), _said():
        call_command("migrate", verbosity=0, interactive=False)


def _pending() -> list[str]:
    with _said():
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except DatabaseError as exc:
        known = outage(exc)
        code = known.code if known else ErrorCode.DATABASE_UNAVAILABLE
        cause, todo = str(exc).strip().split("\n")[0], known.recovery_suggestion if known else ""
        raise IntegrationError(code, f"the database ({connection.vendor}) does not answer", {"cause": cause}, todo) from exc


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock beside the file; who dies lets go of it."""
    with path.open("a") as lock:
        give_up_at = time.monotonic() + WAIT_SEC
        while not try_lock(lock):
            if time.monotonic() > give_up_at:
                raise IntegrationError(ErrorCode.DATABASE_BUSY, f"another process has migrated for {WAIT_SEC:g} s; {path.name} is its lock")
            time.sleep(0.1)
        yield
