"""``manage.py prune_saga_barriers``: delete what the layer remembers of steps that no saga can ask for any more."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections

from sagas.participant import barrier

MAX_DAYS = 36_500


class Command(BaseCommand):
    """Delete old barrier rows in short transactions."""

    help = "Delete barrier rows of steps that were called so many days ago; run it daily."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=float, default=30.0, help="longer than the longest saga lives (30)")
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections), help="what `using` of saga_participant names"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Prune and say how many rows that were."""
        if not 0 < options["days"] <= MAX_DAYS:
            raise CommandError(f"--days is {options['days']:g}, it must be above 0 and at most {MAX_DAYS}")
        count = barrier.prune(older_than=timedelta(days=options["days"]), using=options["database"])
        self.stdout.write(f"saga barriers: {count:,}")
