"""Many rows at once: COPY on Postgres, one prepared statement on SQLite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from django.core.management.color import no_style
from django.db import connection, models, transaction


def fill(model: type[models.Model], rows: Iterable[Mapping[str, Any]], **constants: Any) -> None:
    """Insert rows that differ in the columns of `rows` alone; what neither names has its default.

    Names are those of the columns' attributes (`event_id` for a foreign key). All rows name the same ones.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    fields = [field for field in model._meta.concrete_fields if field.attname in first or not field.primary_key]
    same = {f.attname: f.get_db_prep_save(constants.get(f.attname, f.get_default()), connection) for f in fields if f.attname not in first}
    # Columns differ in what their values need before they are sent; most need nothing.
    plan = [(f.attname, None if isinstance(f, _AS_IT_IS) else f.get_db_prep_save) for f in fields]
    prepared = (_row(plan, same, row) for row in chain([first], rows))
    with transaction.atomic():
        _insert(model._meta.db_table, [str(field.column) for field in fields], prepared)
        for statement in connection.ops.sequence_reset_sql(no_style(), [model]):
            with connection.cursor() as cursor:
                cursor.execute(statement)


_AS_IT_IS = (models.CharField, models.TextField, models.IntegerField, models.FloatField)


def _row(plan: list[tuple[str, Any]], same: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(same[name] if name in same else row[name] if prepare is None else prepare(row[name], connection) for name, prepare in plan)


def _insert(table: str, columns: list[str], rows: Any) -> None:  # a generator: a million rows are never in memory
    quoted = ", ".join(connection.ops.quote_name(column) for column in columns)
    target = f"{connection.ops.quote_name(table)} ({quoted})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {target} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            marks = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"INSERT INTO {target} VALUES ({marks})", rows)  # noqa: S608  (names of our own tables)
