"""``manage.py deadletters``: look at what could not be delivered, and decide."""

from __future__ import annotations

import getpass
import json
from argparse import SUPPRESS, ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from hub.events import deadletters, replays
from hub.events.models import DeadLetter
from hub.management.arguments import PAGE, whole
from hub.management.command import HubCommand


class Command(HubCommand):
    help = "List dead letters, replay them one by one or by cause, edit or discard them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument("--by", default=getpass.getuser(), help="who decides (default: the user of this shell)")
        commands = parser.add_subparsers(dest="command", required=True)
        listed = commands.add_parser("list", help="open dead letters, newest first")
        listed.add_argument("--limit", type=whole(1, PAGE), default=20)
        listed.add_argument("--subscription", default="", help="those of this subscription only")
        commands.add_parser("groups", help="open dead letters by cause")
        for name, text in (("show", "one dead letter with each attempt"), ("replay", "give the event to its subscription again")):
            commands.add_parser(name, help=text).add_argument("id", type=int)
        edit = commands.add_parser("edit", help="replay with another payload; the old event is kept")
        edit.add_argument("id", type=int)
        edit.add_argument("payload", help="a JSON object")
        discard = commands.add_parser("discard", help="give the event up for good")
        discard.add_argument("id", type=int)
        discard.add_argument("--reason", required=True)
        group = commands.add_parser("replay-group", help="replay all of one cause; the first that fails again stops it")
        group.add_argument("fingerprint")
        group.add_argument("--rate", type=float, default=5.0, help="letters per second")
        group.add_argument("--dry-run", action="store_true", help="really replay one, the oldest, to see what happens")
        for verb in commands.choices.values():
            verb.add_argument("--json", action="store_true", default=SUPPRESS, help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        found = getattr(self, f"_{options['command'].replace('-', '_')}")(options)
        self.print_rows(found, as_json=options["json"])

    def _list(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        rows = deadletters.of(options["subscription"]).order_by("-last_at")
        return [_summary(row) for row in rows[: options["limit"]]]

    def _groups(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        return [asdict(group) for group in deadletters.groups()]

    def _show(self, options: dict[str, Any]) -> dict[str, Any]:
        row = deadletters.find(options["id"])
        return {**_summary(row), "attempts": row.delivery.history, "event": row.delivery.event.body}

    def _replay(self, options: dict[str, Any]) -> dict[str, Any]:
        return _summary(deadletters.replay(options["id"], by=options["by"]))

    def _edit(self, options: dict[str, Any]) -> dict[str, Any]:
        try:
            payload = json.loads(options["payload"])
        except ValueError as exc:
            raise CommandError(f"the payload is not JSON: {exc}") from exc
        return _summary(deadletters.edit_and_replay(options["id"], payload, by=options["by"]))

    def _discard(self, options: dict[str, Any]) -> dict[str, Any]:
        return _summary(deadletters.discard(options["id"], reason=options["reason"], by=options["by"]))

    def _replay_group(self, options: dict[str, Any]) -> dict[str, Any]:
        run = replays.start(options["fingerprint"], by=options["by"], rate_per_sec=options["rate"], dry_run=options["dry_run"])
        return {"run": run.pk, "fingerprint": run.fingerprint, "letters": run.limit, "rate_per_sec": run.rate_per_sec}


def _summary(row: DeadLetter) -> dict[str, Any]:
    return {
        "id": row.pk,
        "status": row.status,
        "subscription": row.subscription.name,
        "topic": row.event.topic,
        "event_id": row.event.event_id,
        "fingerprint": row.fingerprint,
        "code": row.error_code,
        "error": row.error,
        "hint": row.hint,
        "last_at": row.last_at,
    }
