"""``manage.py why ID``: why a saga or a request is where it is, in words."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from hub.diagnosis import services
from hub.management.command import HubCommand


class Command(HubCommand):
    """Say what a saga or a request waits for, and what happens next by itself."""

    help = "Say why a saga or a request is where it is: what it waits for, since when, and what happens next."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", help="of a saga; a request's task id, trace id or correlation id; or an idempotency key of either")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the answer."""
        found = services.why(options["id"])
        self.stdout.write(json.dumps(asdict(found)) if options["json"] else str(found))
