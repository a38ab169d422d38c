"""Statements whose SQL is composed once: on a hot path Django's query compiler costs several times what the database does.

The SQL, the converters and the values are Django's own, so both databases read and write what the ORM would; only the
composing is done once per kind of statement. Everywhere else the ORM itself is the better choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, Model, QuerySet

M = TypeVar("M", bound=Model)


class Select(Generic[M]):
    """Rows of one model by one value: `make(value)` is the query as the ORM would have it, with that value as its only parameter."""

    def __init__(self, make: Callable[[Any], QuerySet[M]], *, by: str) -> None:
        self._make, self._by = make, by
        self._composed: dict[str, _Composed] = {}

    def __call__(self, value: Any) -> list[M]:
        """Return the rows whose column has this value."""
        db = connections[DEFAULT_DB_ALIAS]
        composed = self._composed.get(db.vendor) or self._compose(value, db)
        with db.cursor() as cursor:
            cursor.execute(composed.sql, [composed.by.get_db_prep_value(value, db)])
            rows = [list(row) for row in cursor.fetchall()]
        for position, (steps, expression) in composed.converters.items():
            for row in rows:
                for step in steps:
                    row[position] = step(row[position], expression, db)
        return [self._built(composed, row) for row in rows]

    def _built(self, composed: _Composed, row: list[Any]) -> M:
        width = len(composed.names)
        found: M = composed.model.from_db(DEFAULT_DB_ALIAS, composed.names, row[:width])
        for name, value in zip(composed.annotations, row[width:], strict=True):
            setattr(found, name, value)
        return found

    def _compose(self, value: Any, db: BaseDatabaseWrapper) -> _Composed:
        rows = self._make(value)
        query, model = rows.query, rows.model
        compiler = query.get_compiler(using=DEFAULT_DB_ALIAS)
        sql, _ = compiler.as_sql()
        self._composed[db.vendor] = _Composed(
            sql=sql,
            model=model,
            names=[field.attname for field in model._meta.concrete_fields],
            annotations=list(query.annotation_select),
            converters=compiler.get_converters([column for column, _, _ in compiler.select]),
            by=model._meta.get_field(self._by),
        )
        return self._composed[db.vendor]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Composed:
    """A query of one kind of database."""

    sql: str
    model: Any
    names: list[str]
    annotations: list[str]
    converters: Mapping[int, Any]
    by: Any


def update(model: type[Model], values: Mapping[str, Any], **where: Any) -> int:
    """Set columns of the rows whose columns equal `where` (attribute names), and return how many rows there were."""
    db = connections[DEFAULT_DB_ALIAS]
    sql = _update_sql(db.vendor, model, tuple(values), tuple(where))
    with db.cursor() as cursor:
        cursor.execute(sql, _parameters(model, (*values.items(), *where.items()), db))
        return int(cursor.rowcount)


def insert(rows: Sequence[Model]) -> None:
    """Insert new rows of one model in one statement; a key that the database gives out is not read back."""
    if not rows:
        return
    db, model = connections[DEFAULT_DB_ALIAS], type(rows[0])
    names = tuple(name for name, field in _fields(model).items() if not isinstance(field, AutoField))
    with db.cursor() as cursor:
        values = [(name, getattr(row, name)) for row in rows for name in names]
        cursor.execute(_insert_sql(db.vendor, model, names, len(rows)), _parameters(model, values, db))
    for row in rows:
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


def insert_missing(model: type[Model], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, each a value per column (attribute names) and all with the same ones; what is there already is left as it is."""
    if not rows:
        return
    db = connections[DEFAULT_DB_ALIAS]
    sql = f"{_insert_sql(db.vendor, model, tuple(rows[0]), 1)} ON CONFLICT DO NOTHING"
    with db.cursor() as cursor:
        cursor.executemany(sql, [_parameters(model, row.items(), db) for row in rows])


def _parameters(model: type[Model], values: Iterable[tuple[str, Any]], db: BaseDatabaseWrapper) -> list[Any]:
    fields = _fields(model)
    return [fields[name].get_db_prep_save(value, db) for name, value in values]


# By kind of database too: each quotes names in its own way.
@lru_cache(maxsize=1024)
def _update_sql(vendor: str, model: type[Model], values: tuple[str, ...], where: tuple[str, ...]) -> str:
    changes = ", ".join(f"{_column(model, name)} = %s" for name in values)
    conditions = " AND ".join(f"{_column(model, name)} = %s" for name in where)
    return f"UPDATE {_table(model)} SET {changes} WHERE {conditions}"  # noqa: S608  (names of our own models)


@lru_cache(maxsize=1024)
def _insert_sql(vendor: str, model: type[Model], names: tuple[str, ...], count: int) -> str:
    columns = ", ".join(_column(model, name) for name in names)
    places = ", ".join([f"({', '.join(['%s'] * len(names))})"] * count)
    return f"INSERT INTO {_table(model)} ({columns}) VALUES {places}"  # noqa: S608


def _table(model: type[Model]) -> str:
    return connections[DEFAULT_DB_ALIAS].ops.quote_name(model._meta.db_table)


def _column(model: type[Model], name: str) -> str:
    return connections[DEFAULT_DB_ALIAS].ops.quote_name(_fields(model)[name].column)


@lru_cache(maxsize=128)
def _fields(model: type[Model]) -> dict[str, Any]:
    return {field.attname: field for field in model._meta.concrete_fields}
