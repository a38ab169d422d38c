"""Delete what is beyond its retention, a few hundred rows at a time: no transaction is long, so no writer waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from hub.crashpoints import crash_point

BATCH = 500
MAX_BATCHES = 2_000
"""A million rows of a table in one go; the rest is for the next time."""

Expired = Mapping[str, QuerySet[Any]]
"""What is beyond its retention, by name, in the order in which it may be deleted."""


def delete(rows: QuerySet[Any], *, batch: int = BATCH) -> int:
    """Delete `rows` and return how many; rows that hang on them are not counted."""
    deleted = 0
    for _ in range(MAX_BATCHES):
        keys = list(rows.values_list("pk", flat=True)[:batch])
        if not keys:
            break
        with transaction.atomic(using=rows.db):
            rows.model._default_manager.using(rows.db).filter(pk__in=keys).delete()
            crash_point("prune.before_commit")
        crash_point("prune.after_commit")
        deleted += len(keys)
    return deleted


def delete_all(expired: Expired) -> dict[str, int]:
    """Delete what is expired and return how many rows of each name."""
    return {name: delete(rows) for name, rows in expired.items()}


def count_all(expired: Expired) -> dict[str, int]:
    """Return how many rows of each name are expired."""
    return {name: rows.count() for name, rows in expired.items()}
