"""`manage.py up`: the whole hub on one machine, until Ctrl-C."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings

from hub.console.up import Options, Up
from hub.errors import IntegrationError
from hub.management.command import HubCommand


class Command(HubCommand):
    """Start Redis, web, worker, beat, relay, Flower and the demo, and keep them running."""

    help = "Start the whole hub on this machine: Redis, database, web, worker, beat, relay, Flower and the demo. Ctrl-C stops all."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--no-demo", action="store_true", help="without the demo's services and sagas")
        parser.add_argument("--once", action="store_true", help="run the demo and stop; the exit code says whether it passed")
        parser.add_argument("--reset", action="store_true", help="begin with an empty var/ (a DATABASE_URL or REDIS_URL is not touched)")
        parser.add_argument("--port", type=int, metavar="N", help="port of the web console (8000 if free, else any free one)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until told to stop; what is missing is one line and exit code 1."""
        chosen = Options(demo=not options["no_demo"], once=options["once"], reset=options["reset"], port=options["port"])
        try:
            code = Up(settings.HUB, chosen, say=self._say).run()
        except IntegrationError as exc:
            sys.exit(f"up: {exc}")
        sys.exit(code)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
