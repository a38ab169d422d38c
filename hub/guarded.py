"""Changes of several rows that happen only if the first row is still as it was read: all or nothing, in one commit.

On Postgres they are one statement (data-modifying ``WITH``), so one round trip instead of five; SQLite has no such
statement, and needs none, for it has no round trips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from hub import prepared

_IF_WON = "EXISTS (SELECT 1 FROM won)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Columns of one row that are set where others have these values (attribute names)."""

    model: type[Model]
    values: Mapping[str, Any]
    where: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Insertion:
    """New rows of one model, each a value per column (attribute names) and all with the same ones."""

    model: type[Model]
    rows: Sequence[Mapping[str, Any]]


def commit(guard: Change, others: Sequence[Change], insertion: Insertion, *, before_commit: Callable[[], None]) -> bool:
    """Make all changes if the first one finds its row; return whether it did. `before_commit` is called just before they stand."""
    db = connections[DEFAULT_DB_ALIAS]
    if db.vendor == "postgresql":
        before_commit()
        return _in_one_statement(guard, others, insertion, db)
    with transaction.atomic():
        if prepared.update(guard.model, guard.values, **guard.where) != 1:
            return False
        for change in others:
            prepared.update(change.model, change.values, **change.where)
        prepared.insert_values(insertion.model, insertion.rows)
        before_commit()
    return True


def _in_one_statement(guard: Change, others: Sequence[Change], insertion: Insertion, db: BaseDatabaseWrapper) -> bool:
    changes = (guard, *others)
    shapes = tuple((change.model, tuple(change.values), tuple(change.where)) for change in changes)
    columns = tuple(insertion.rows[0]) if insertion.rows else ()
    parameters = [
        value for change in changes for value in prepared.parameters(change.model, (*change.values.items(), *change.where.items()), db)
    ]
    parameters += [value for row in insertion.rows for value in prepared.parameters(insertion.model, row.items(), db)]
    with db.cursor() as cursor:
        cursor.execute(_sql(shapes, insertion.model, columns, len(insertion.rows)), parameters)
        return bool(cursor.fetchone()[0])


@lru_cache(maxsize=1024)
def _sql(shapes: tuple[Any, ...], model: type[Model], columns: tuple[str, ...], count: int) -> str:
    guard, *others = (prepared.update_sql("postgresql", *shape) for shape in shapes)
    parts = [f"won AS ({guard} RETURNING 1)"]
    parts += [f"change_{number} AS ({sql} AND {_IF_WON})" for number, sql in enumerate(others)]
    if count:
        parts.append(f"rows AS ({prepared.insert_sql('postgresql', model, columns, count, condition=_IF_WON)})")
    return f"WITH {', '.join(parts)} SELECT count(*) FROM won"  # noqa: S608  (names of our own models)
