"""`manage.py bench`: measure the hub beside its rivals, on a Redis and a database of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from hub.bench.servers import servers


class Command(BaseCommand):
    """Measure, and print a table of ratios; what lies in the hub's own database is not touched."""

    help = "Measure the hub beside a Celery chain, DBOS, pybreaker and others, interleaved, on servers of its own."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--only", default="", help="rows, such as S1,R2; all if left out")
        parser.add_argument("--rounds", type=int, default=5)
        parser.add_argument(
            "--database", choices=["sqlite", "postgres"], default="sqlite", help="started for this run and removed after it"
        )
        parser.add_argument("--json", type=Path, help="write the verdicts to this file too")

    def handle(self, *args: Any, **options: Any) -> None:
        """Start the servers, measure in a process that knows only them, and end with its exit code."""
        arguments = ["--only", options["only"], "--rounds", str(options["rounds"])]
        arguments += ["--json", str(options["json"].resolve())] if options["json"] else []
        with tempfile.TemporaryDirectory(prefix="hub-bench-") as directory, servers(Path(directory), options["database"]) as env:
            env |= {"BENCH_RIVALS_DIR": str(settings.HUB.var_dir)}
            done = subprocess.run([sys.executable, "-m", "hub.bench.run", *arguments], env={**os.environ, **env})  # noqa: S603
        sys.exit(done.returncode)
