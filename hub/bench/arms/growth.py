"""The same on a thousand rows and on many: each size is a database of its own beside the bench's, filled once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping

from django.db import connection

from hub.bench import sizes
from hub.bench.figures import Sample
from hub.bench.stage import Stage

FEW, FILL_SEC, MEASURE_SEC = 1_000, 1_800, 120


def on(rows: Callable[[], int], what: str) -> Callable[[Stage], Sample]:
    """Return the arm that measures on a database of so many rows."""
    return lambda stage: Sample(**json.loads(_run(_database(stage, rows()), what, timeout_sec=MEASURE_SEC)))


def _database(stage: Stage, rows: int) -> str:
    """Return the address of a database with that many rows."""
    key = f"rows-{rows}"
    if key not in stage.kept:
        url = _create(stage, f"rows_{rows}")
        _run(url, "fill", str(rows), timeout_sec=FILL_SEC)
        stage.kept[key] = url
    return str(stage.kept[key])


def _create(stage: Stage, name: str) -> str:
    if stage.database() == "sqlite":
        return f"sqlite:///{stage.directory / name}.sqlite3"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {connection.ops.quote_name(name)}")
    return f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{name}"


def _run(url: str, *arguments: str, timeout_sec: int) -> str:
    command, env = [sys.executable, "-m", "hub.bench.growth", *arguments], {**os.environ, "DATABASE_URL": url}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout_sec)  # noqa: S603
    if done.returncode != 0:
        raise RuntimeError(f"growth {' '.join(arguments)} failed: {done.stderr[-2000:]}")
    return (done.stdout.strip().splitlines() or [""])[-1]


def _few() -> int:
    return FEW


def _many() -> int:
    return sizes.asked().rows


ARMS: Mapping[str, Callable[[Stage], Sample]] = {
    f"{what} on {size} rows": on(rows, what) for what in ("checkpoint", "sweep", "trace") for size, rows in (("few", _few), ("many", _many))
}
