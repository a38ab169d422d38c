"""Statements whose SQL is composed once: on a hot path Django's query compiler costs several times what the database does.

The SQL, the converters and the values are Django's own, so both databases read and write what the ORM would; only the
composing is done once per kind of statement. Everywhere else the ORM itself is the better choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, Generic, TypeVar, cast

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, Model, QuerySet

T = TypeVar("T")


class Select(Generic[T]):
    """Rows of one model by one value: `make(value)` is the query as the ORM would have it, with that value as its only parameter.

    With `into`, a function of a row's values by attribute name, its results are returned instead of the model's objects.
    """

    def __init__(self, make: Callable[[Any], QuerySet[Any]], *, by: str, into: Callable[[dict[str, Any]], T] | None = None) -> None:
        self._make, self._by, self._into = make, by, into
        self._composed: dict[str, _Composed] = {}

    def __call__(self, value: Any) -> list[T]:
        """Return the rows whose column has this value."""
        db = connections[DEFAULT_DB_ALIAS]
        with db.cursor() as cursor:
            cursor.execute(self.sql(value, db), [self.parameter(value, db)])
            return self.rows(cursor.fetchall(), db)

    def sql(self, value: Any, db: BaseDatabaseWrapper) -> str:
        """Return the statement, with one place for a parameter."""
        return (self._composed.get(db.vendor) or self._compose(value, db)).sql

    def parameter(self, value: Any, db: BaseDatabaseWrapper) -> Any:
        """Return the value as the database wants it."""
        return self._composed[db.vendor].by.get_db_prep_value(value, db)

    def rows(self, fetched: Iterable[Sequence[Any]], db: BaseDatabaseWrapper) -> list[T]:
        """Return what the statement found, converted as the model's fields convert it."""
        composed, rows = self._composed[db.vendor], [list(row) for row in fetched]
        for position, (steps, expression) in composed.converters.items():
            for row in rows:
                if row[position] is not None:  # which is None in every column of ours
                    for step in steps:
                        row[position] = step(row[position], expression, db)
        if self._into is not None:
            return [self._into(dict(zip(composed.names, row, strict=False))) for row in rows]
        return [self._built(composed, row) for row in rows]

    def _built(self, composed: _Composed, row: list[Any]) -> T:
        width = len(composed.names)
        found: Any = composed.model.from_db(DEFAULT_DB_ALIAS, composed.names, row[:width])
        for name, value in zip(composed.annotations, row[width:], strict=True):
            setattr(found, name, value)
        return cast("T", found)

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


def together(value: Any, *selects: Select[Any]) -> list[list[Any]]:
    """Return what each of several queries finds for one value; on Postgres they take one round trip."""
    db = connections[DEFAULT_DB_ALIAS]
    if not _takes_several(db):
        return [select(value) for select in selects]
    with db.cursor() as cursor:
        sql = ";".join(select.sql(value, db) for select in selects)
        cursor.execute(sql, [select.parameter(value, db) for select in selects])
        found = [selects[0].rows(cursor.fetchall(), db)]
        for select in selects[1:]:
            cursor.nextset()
            found.append(select.rows(cursor.fetchall(), db))
    return found


def update(model: type[Model], values: Mapping[str, Any], **where: Any) -> int:
    """Set columns of the rows whose columns equal `where` (attribute names), and return how many rows there were."""
    db = connections[DEFAULT_DB_ALIAS]
    sql = update_sql(db.vendor, model, tuple(values), tuple(where))
    with db.cursor() as cursor:
        cursor.execute(sql, parameters(model, (*values.items(), *where.items()), db))
        return int(cursor.rowcount)


def insert(*batches: Sequence[Model]) -> None:
    """Insert new rows, each batch of one model; a key that the database gives out is not read back.

    The caller has a transaction if there are several batches; on Postgres they take one round trip.
    """
    db = connections[DEFAULT_DB_ALIAS]
    statements = [_insertion(rows, db) for rows in batches if rows]
    if statements and _takes_several(db):
        statements = [(";".join(sql for sql, _ in statements), [value for _, values in statements for value in values])]
    with db.cursor() as cursor:
        for sql, values in statements:
            cursor.execute(sql, values)
    for row in chain.from_iterable(batches):
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


def _insertion(rows: Sequence[Model], db: BaseDatabaseWrapper) -> tuple[str, list[Any]]:
    model = type(rows[0])
    names = tuple(name for name, field in _fields(model).items() if not isinstance(field, AutoField))
    values = [(name, getattr(row, name)) for row in rows for name in names]
    return insert_sql(db.vendor, model, names, len(rows)), parameters(model, values, db)


def _takes_several(db: BaseDatabaseWrapper) -> bool:
    """Tell whether one command may hold several statements: Postgres', where parameters are bound by the client."""
    return db.vendor == "postgresql" and not db.settings_dict["OPTIONS"].get("server_side_binding")


def insert_values(model: type[Model], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows in one statement, each a value per column (attribute names) and all with the same ones."""
    if not rows:
        return
    db = connections[DEFAULT_DB_ALIAS]
    with db.cursor() as cursor:
        values = [item for row in rows for item in row.items()]
        cursor.execute(insert_sql(db.vendor, model, tuple(rows[0]), len(rows)), parameters(model, values, db))


def insert_missing(model: type[Model], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, each a value per column (attribute names) and all with the same ones; what is there already is left as it is."""
    if not rows:
        return
    db = connections[DEFAULT_DB_ALIAS]
    sql = f"{insert_sql(db.vendor, model, tuple(rows[0]), 1)} ON CONFLICT DO NOTHING"
    with db.cursor() as cursor:
        cursor.executemany(sql, [parameters(model, row.items(), db) for row in rows])


def parameters(model: type[Model], values: Iterable[tuple[str, Any]], db: BaseDatabaseWrapper) -> list[Any]:
    """Return values of a model's columns as its fields hand them to the database."""
    fields = _fields(model)
    return [None if value is None else fields[name].get_db_prep_save(value, db) for name, value in values]


# By kind of database too: each quotes names in its own way.
@lru_cache(maxsize=1024)
def update_sql(vendor: str, model: type[Model], values: tuple[str, ...], where: tuple[str, ...]) -> str:
    """Return an UPDATE that sets columns of the rows where others have given values."""
    changes = ", ".join(f"{_column(model, name)} = %s" for name in values)
    conditions = " AND ".join(f"{_column(model, name)} = %s" for name in where)
    return f"UPDATE {_table(model)} SET {changes} WHERE {conditions}"  # noqa: S608  (names of our own models)


@lru_cache(maxsize=1024)
def insert_sql(vendor: str, model: type[Model], names: tuple[str, ...], count: int, *, condition: str = "") -> str:
    """Return an INSERT of so many rows, all of them or, unless the condition holds, none."""
    columns = ", ".join(_column(model, name) for name in names)
    places = ", ".join([f"({', '.join(['%s'] * len(names))})"] * count)
    source = f"SELECT * FROM (VALUES {places}) AS given WHERE {condition}" if condition else f"VALUES {places}"  # noqa: S608
    return f"INSERT INTO {_table(model)} ({columns}) {source}"


def _table(model: type[Model]) -> str:
    return connections[DEFAULT_DB_ALIAS].ops.quote_name(model._meta.db_table)


def _column(model: type[Model], name: str) -> str:
    return connections[DEFAULT_DB_ALIAS].ops.quote_name(_fields(model)[name].column)


@lru_cache(maxsize=128)
def _fields(model: type[Model]) -> dict[str, Any]:
    return {field.attname: field for field in model._meta.concrete_fields}
