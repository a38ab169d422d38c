"""Delete what is beyond its retention, a few hundred rows at a time: no transaction is long, so no writer waits for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, connections, transaction
from django.db.models import QuerySet

from hub.crashpoints import crash_point

log = logging.getLogger(__name__)

BATCH = 500
MAX_BATCHES = 2_000
"""A million rows of a table in one go; the rest is for the next time."""

Expired = Mapping[str, QuerySet[Any]]
"""What is beyond its retention, by name, in the order in which it may be deleted."""


def delete(rows: QuerySet[Any], *, batch: int = BATCH) -> int:
    """Delete `rows` and return how many; rows that hang on them are not counted.

    A row that is no longer one of them, that another process holds or that others refer to by now is left for the next time.
    """
    deleted, left = 0, set[Any]()
    for _ in range(MAX_BATCHES):
        keys = list(rows.exclude(pk__in=left).values_list("pk", flat=True)[:batch])
        if not keys or len(left) >= batch:
            break
        gone = _delete_what_can_go(rows, keys)
        deleted += len(gone)
        left.update(set(keys).difference(gone))
    if left:
        log.warning("rows are left for the next pruning", extra={"model": rows.model._meta.label, "count": len(left)})
    return deleted


def _delete_what_can_go(rows: QuerySet[Any], keys: list[Any]) -> list[Any]:
    """Delete rows at once or, where some cannot go, by halves; return the keys of those that went."""
    try:
        return _delete(rows, keys)
    except IntegrityError:  # others refer to one of them
        if len(keys) == 1:
            return []
    half = len(keys) // 2
    return _delete_what_can_go(rows, keys[:half]) + _delete_what_can_go(rows, keys[half:])


def _delete(rows: QuerySet[Any], keys: list[Any]) -> list[Any]:
    features = connections[rows.db].features
    of_itself = ("self",) if features.has_select_for_update_of else ()
    with transaction.atomic(using=rows.db):
        # Asked again under locks: since the look an operator may have sent a run on.
        still = rows.filter(pk__in=keys).select_for_update(skip_locked=features.has_select_for_update_skip_locked, of=of_itself)
        gone = [row.pk for row in still.only("pk")]
        rows.model._default_manager.using(rows.db).filter(pk__in=gone).delete()
        crash_point("prune.before_commit")
    crash_point("prune.after_commit")
    return gone


def delete_all(expired: Expired) -> dict[str, int]:
    """Delete what is expired and return how many rows of each name."""
    return {name: delete(rows) for name, rows in expired.items()}


def count_all(expired: Expired) -> dict[str, int]:
    """Return how many rows of each name are expired."""
    return {name: rows.count() for name, rows in expired.items()}
