"""`manage.py bench [memory|pools|load|pages]`: measure the hub beside its rivals, fill a database, or measure the console's pages."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from dataclasses import fields
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import connection
from rich.console import Console
from rich.table import Column, Table

from hub.bench import load, pages
from hub.bench.load import Counts
from hub.bench.scratch import scratch
from hub.bench.servers import servers
from hub.bench.sizes import Sizes
from hub.management.arguments import whole
from hub.management.command import HubCommand

FEW = 1_000
SIZES = {
    "rows": "D3: rows of each table that are compared with a thousand",
    "few": "M1, M2: requests and sagas after which a worker's memory is the measure",
    "many_requests": "M1: requests after which it is compared",
    "many_sagas": "M2: sagas after which it is compared",
}
MANY = {"sagas": 100_000, "spans": 1_000_000, "dead_letters": 10_000}


class Command(HubCommand):
    """Measure, and print a table; what lies in the hub's own database is not touched."""

    help = (
        "Measure the hub beside a Celery chain, DBOS, pybreaker and others, interleaved, on servers of its own; "
        "memory: a worker's memory after little work and after much; pools: Celery's worker pools; "
        "load: fill the fresh database of DATABASE_URL; pages: measure each page of the console on few and on many rows."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", nargs="?", choices=["run", "memory", "pools", "load", "pages"], default="run")
        run = parser.add_argument_group("run, memory and pools")
        run.add_argument("--only", default="", help="rows, such as S1,R2; all if left out")
        run.add_argument("--rounds", type=whole(1), help="5 if left out, 1 for memory")
        run.add_argument("--strict", action="store_true", help="fail also when a rival could not run")
        run.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite", help="started for this run, removed after it")
        run.add_argument("--json", type=Path, help="write the verdicts to this file too")
        for field in fields(Sizes):
            run.add_argument(f"--{field.name.replace('_', '-')}", type=whole(1), default=field.default, help=SIZES[field.name])
        filling = parser.add_argument_group("load and pages")
        filling.add_argument("--more", action="store_true", help="load: add to a database that has rows")
        for name, count in MANY.items():
            filling.add_argument(f"--{name.replace('_', '-')}", type=whole(0), default=count)

    def handle(self, *, what: str, **options: Any) -> None:
        getattr(self, f"_{what}")(**options)

    def _run(self, *, only: str, rounds: int | None, database: str, strict: bool, json: Path | None, **options: Any) -> None:
        """Start the servers, measure in a process that knows only them, and end with its exit code."""
        arguments = ["--only", only, "--rounds", str(rounds or 5), *(["--json", str(json.resolve())] if json else [])]
        sizes = Sizes(**{field.name: options[field.name] for field in fields(Sizes)})
        with tempfile.TemporaryDirectory(prefix="hub-bench-") as directory, servers(Path(directory), database) as env:
            env |= {"BENCH_RIVALS_DIR": str(settings.HUB.var_dir), **sizes.environment()}
            command = [sys.executable, "-m", "hub.bench.run", *arguments, *(["--strict"] if strict else [])]
            done = subprocess.run(command, env={**os.environ, **env})  # noqa: S603
        sys.exit(done.returncode)

    def _memory(self, *, only: str, rounds: int | None, **options: Any) -> None:
        self._run(only=only or "M1,M2", rounds=rounds or 1, **options)

    def _pools(self, *, only: str, **options: Any) -> None:
        self._run(only=only or "P1,P2,P3", **options)

    def _load(self, *, sagas: int, spans: int, dead_letters: int, more: bool, **_: Any) -> None:
        if not more:
            load.check_fresh()
        began = time.monotonic()
        load.load(Counts(sagas=sagas, spans=spans, dead_letters=dead_letters), say=self.stdout.write)
        self.stdout.write(f"in {time.monotonic() - began:.1f} s")

    def _pages(self, *, sagas: int, spans: int, dead_letters: int, **_: Any) -> None:
        many = Counts(sagas=sagas, spans=spans, dead_letters=dead_letters)
        with scratch() as name:
            self.stdout.write(f"{connection.vendor}, scratch database {name}")
            lines = pages.compare(few=many.at_most(FEW), many=many, say=self.stdout.write)
        limit_ms = pages.LIMIT_MS.get(connection.vendor, 500.0)
        Console(width=110).print(_table(lines, limit_ms))
        missed = sum(bool(line.misses(limit_ms)) for line in lines)
        if missed:
            raise CommandError(f"{missed} of {len(lines)} pages miss a target")
        self.stdout.write(f"all {len(lines)} pages keep to {limit_ms:g} ms, {pages.MAX_QUERIES} queries, ratio {pages.MAX_RATIO:g}")


def _table(lines: list[pages.Line], limit_ms: float) -> Table:
    table = Table("page", *(_right(name) for name in ("queries", "ms, few rows", "ms, many rows", "ratio")), "misses")
    for line in lines:
        figures = (f"{line.many.queries}", f"{line.few.ms:.0f}", f"{line.many.ms:.0f}", f"{line.ratio:.2f}")
        table.add_row(line.name, *figures, ", ".join(line.misses(limit_ms)))
    return table


def _right(name: str) -> Column:
    return Column(name, justify="right")
