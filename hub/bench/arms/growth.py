"""The same on a thousand rows and on many: each size is a database of its own beside the bench's, filled once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from django.db import connection

from hub.bench import elsewhere, sizes
from hub.bench.figures import Sample
from hub.bench.stage import Stage

MODULE, FEW, FILL_SEC = "hub.bench.growth", 1_000, 1_800


def on(rows: Callable[[], int], what: str) -> Callable[[Stage], Sample]:
    """Return the arm that measures on a database of so many rows."""
    return lambda stage: elsewhere.sample(MODULE, what, env={"DATABASE_URL": _database(stage, rows())})


def _database(stage: Stage, rows: int) -> str:
    """Return the address of a database with that many rows."""
    key = f"rows-{rows}"
    if key not in stage.kept:
        url = _create(stage, f"rows_{rows}")
        elsewhere.run(MODULE, "fill", str(rows), env={"DATABASE_URL": url}, limit_sec=FILL_SEC)
        stage.kept[key] = url
    return str(stage.kept[key])


def _create(stage: Stage, name: str) -> str:
    if stage.database() == "sqlite":
        return f"sqlite:///{stage.directory / name}.sqlite3"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {connection.ops.quote_name(name)}")
    return f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{name}"


def _few() -> int:
    return FEW


def _many() -> int:
    return sizes.asked().rows


ARMS: Mapping[str, Callable[[Stage], Sample]] = {
    f"{what} on {size} rows": on(rows, what) for what in ("checkpoint", "sweep", "trace") for size, rows in (("few", _few), ("many", _many))
}
