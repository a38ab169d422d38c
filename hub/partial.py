"""Queries that an index serves on both databases: for columns whose index leaves out what is empty, and for search by several columns.

SQLite uses a partial index only where the index's own condition stands in the query; Postgres sees for itself that
``column = 'x'`` is not empty. A search with OR over columns and an order is a walk through the table in that order on both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Q, QuerySet

MOST_FOUND = 1_000


def given(column: str, value: str) -> Q:
    """Return the condition that a column, of which only non-empty values are in an index, has this value."""
    return Q(**{column: value}) & ~Q(**{column: ""})


def known_as(rows: QuerySet[Any], columns: Iterable[str], text: str) -> QuerySet[Any]:
    """Keep the rows that have exactly this text in one of the columns: a look into each index, for the newest thousand."""
    found: set[Any] = set()
    for column in columns:
        condition = Q(**{column: text}) if "__" in column else given(column, text)
        found.update(rows.model.objects.filter(condition).order_by("-pk").values_list("pk", flat=True)[:MOST_FOUND])
    return rows.filter(pk__in=found)
