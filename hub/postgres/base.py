"""Django's Postgres backend, in which no statement waits for an answer without end.

A server may take a statement and never answer: its process is stopped, or somebody's open transaction holds the row. The kernel's
limits (`hub.settings`) do not see that, for the connection lives. After the limit the server is asked to cancel; if it does, the error
is its own (57014, E11943) and the connection stays good; if it says nothing, the connection is closed (E11940).

Django finds a backend by this module's name: https://docs.djangoproject.com/en/stable/ref/databases/#subclassing-the-built-in-database-backends
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg.errors import _WaitTimeout  # the one that `wait` raises for its own `timeout`, and for nothing else

ALIVE_SEC = 5.0
"""So long may a connection that was kept take to show that it still is one."""
_CANCEL_SEC = 2.0


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that waits `answer_sec` seconds for each answer; None for ever."""

    answer_sec: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait as psycopg does; OperationalError after the limit."""
        try:
            return super().wait(gen, interval, timeout or self.answer_sec)
        except _WaitTimeout:
            if timeout is not None:
                raise
            return self._cancel(gen)

    def _cancel(self, gen: Any) -> Any:
        try:
            self.cancel_safe(timeout=_CANCEL_SEC)
            return super().wait(gen, timeout=_CANCEL_SEC)  # the server's word: cancelled, or done just now
        except psycopg.OperationalError as exc:
            if isinstance(exc, psycopg.errors.QueryCanceled):
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {self.answer_sec:g} s") from exc


class DatabaseWrapper(base.DatabaseWrapper):
    """The backend; ``OPTIONS["answer_sec"]`` is the limit."""

    # A server that only reads, as a standby does during a failover, is away like any other; psycopg has it among its internal errors,
    # which nobody waits out.
    _AWAY = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)
    Database = SimpleNamespace(**vars(psycopg) | {"connect": LimitedConnection.connect, "OperationalError": _AWAY})  # type: ignore[assignment]

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect, with the limit that is none of libpq's parameters."""
        answer_sec = conn_params.pop("answer_sec", None)
        made = super().get_new_connection(conn_params)
        made.answer_sec = answer_sec
        return made

    @contextmanager
    def schema_editor(self, *args: Any, **kwargs: Any) -> Iterator[Any]:  # type: ignore[override]  # a context manager either way
        """Let migrations take as long as they take."""
        with self.limited(None), super().schema_editor(*args, **kwargs) as editor:
            yield editor

    @contextmanager
    def limited(self, answer_sec: float | None) -> Iterator[None]:
        """Wait so long for answers in the block, or for ever."""
        self.ensure_connection()
        connection, before = self.connection, self.connection.answer_sec
        connection.answer_sec = answer_sec
        try:
            yield
        finally:
            connection.answer_sec = before

    def is_usable(self) -> bool:
        """Tell whether the connection still answers."""
        if self.connection is None:
            return False
        with self.limited(ALIVE_SEC):
            return bool(super().is_usable())
