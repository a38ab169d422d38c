"""``manage.py prune``: delete now what beat deletes by the clock, everything that is beyond its retention."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.utils import timezone

from hub import pruning
from hub.circuits import history as circuits
from hub.console import audit
from hub.events import retention as events
from hub.management.command import HubCommand
from hub.routing import history as requests
from hub.routing import idempotency
from hub.telemetry import retention as spans
from registry_app import history as registry
from sagas import retention as sagas


def _registry() -> pruning.Expired:
    return registry.expired(now=timezone.now(), keep_days=settings.HUB.registry_retention_days)


ROOMS: tuple[Callable[[], pruning.Expired], ...] = (
    circuits.expired,
    _registry,
    requests.expired,
    idempotency.expired,
    events.expired,
    sagas.expired,
    audit.expired,
)


class Command(HubCommand):
    """Delete spans, requests, events, sagas and the rest beyond their retention."""

    help = "Delete what is beyond its retention, in short transactions, and say how much; --dry-run only counts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count what would be deleted, and delete nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prune room by room; what is printed is done."""
        only_count = options["dry_run"]
        self._say({f"spans {name}": number for name, number in (spans.due if only_count else spans.prune)().items()})
        for expired in ROOMS:
            self._say((pruning.count_all if only_count else pruning.delete_all)(expired()))
        if only_count:
            self.stdout.write("nothing was deleted")

    def _say(self, counts: Mapping[str, int]) -> None:
        for name, number in counts.items():
            self.stdout.write(f"{name.replace('_', ' ')}: {number:,}")
