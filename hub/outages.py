"""What went away: an error of the database, of Redis or of the broker becomes a code and a word on what to do.

Messages name no address and no statement: they are fit for everybody's eyes.
"""

from __future__ import annotations

from django.db import DatabaseError, InterfaceError, OperationalError, ProgrammingError
from kombu.exceptions import OperationalError as BrokerError
from redis import RedisError

from hub.errors import ErrorCode, IntegrationError

_TODO = {
    ErrorCode.DATABASE_UNAVAILABLE: "start it, or correct DATABASE_URL; `manage.py doctor` says more",
    ErrorCode.DATABASE_BUSY: "somebody holds it in a long transaction: try again, or end that one",
    ErrorCode.DATABASE_FULL: "make room, or let it be written to",
    ErrorCode.MIGRATIONS_PENDING: "run: manage.py migrate",
    ErrorCode.BROKER_UNAVAILABLE: "start Redis, or correct REDIS_URL; `manage.py doctor` says more",
}
_SQLITE = {
    "locked": ErrorCode.DATABASE_BUSY,
    "no such table": ErrorCode.MIGRATIONS_PENDING,
    "no such column": ErrorCode.MIGRATIONS_PENDING,
    "has no column": ErrorCode.MIGRATIONS_PENDING,
    "readonly": ErrorCode.DATABASE_FULL,
    "is full": ErrorCode.DATABASE_FULL,
}
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES = {
    "55P03": ErrorCode.DATABASE_BUSY,
    "57014": ErrorCode.DATABASE_BUSY,
    "40P01": ErrorCode.DATABASE_BUSY,
    "40001": ErrorCode.DATABASE_BUSY,
    "42P01": ErrorCode.MIGRATIONS_PENDING,
    "42703": ErrorCode.MIGRATIONS_PENDING,
    "53100": ErrorCode.DATABASE_FULL,
    "25006": ErrorCode.DATABASE_FULL,
}


def outage(exc: BaseException) -> IntegrationError | None:
    """Return what an exception says is away, or None when it is no outage.

    Codes: E11933 not migrated, E11940 database away, E11941 Redis away, E11942 full or read-only, E11943 locked.
    """
    code = _code(exc)
    return None if code is None else IntegrationError(code, recovery_suggestion=_TODO[code])


def _code(exc: BaseException) -> ErrorCode | None:
    if isinstance(exc, RedisError | BrokerError):
        return ErrorCode.BROKER_UNAVAILABLE
    if not isinstance(exc, DatabaseError | InterfaceError):
        return None
    known = _POSTGRES.get(getattr(exc.__cause__, "sqlstate", None) or "") or _of_sqlite(str(exc))
    if known is None and isinstance(exc, OperationalError | InterfaceError):
        return ErrorCode.DATABASE_UNAVAILABLE
    return known if isinstance(exc, OperationalError | InterfaceError | ProgrammingError) else None


def _of_sqlite(text: str) -> ErrorCode | None:
    return next((code for words, code in _SQLITE.items() if words in text), None)
