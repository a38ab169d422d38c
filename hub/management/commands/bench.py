"""``manage.py bench ...``: fill a database, and measure what the console takes on it."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from rich.console import Console
from rich.table import Column, Table

from hub.bench import load, pages
from hub.bench.load import Counts
from hub.bench.scratch import scratch
from hub.errors import IntegrationError

FEW = 1_000
MANY = {"sagas": 100_000, "spans": 1_000_000, "dead_letters": 10_000}


class Command(BaseCommand):
    help = "Fill a fresh database (load), or measure the console's pages on few and on many rows in a scratch one (pages)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        filling = verbs.add_parser("load", help="fill the database of DATABASE_URL, which must be fresh")
        filling.add_argument("--more", action="store_true", help="add to a database that has rows")
        _add_counts(filling)
        _add_counts(verbs.add_parser("pages", help="measure each page in a scratch database beside that of DATABASE_URL"))

    def handle(self, *, verb: str, **options: Any) -> None:
        try:
            getattr(self, f"_{verb}")(**options)
        except IntegrationError as exc:
            raise CommandError(str(exc)) from exc

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


def _add_counts(parser: ArgumentParser) -> None:
    for name, count in MANY.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=count)


def _table(lines: list[pages.Line], limit_ms: float) -> Table:
    table = Table("page", *(_right(name) for name in ("queries", "ms, few rows", "ms, many rows", "ratio")), "misses")
    for line in lines:
        figures = (f"{line.many.queries}", f"{line.few.ms:.0f}", f"{line.many.ms:.0f}", f"{line.ratio:.2f}")
        table.add_row(line.name, *figures, ", ".join(line.misses(limit_ms)))
    return table


def _right(name: str) -> Column:
    return Column(name, justify="right")
