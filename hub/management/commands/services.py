"""``manage.py services list|show|at|probe|maintenance|deregister|sync``: the registry for who has a shell and no browser."""

from __future__ import annotations

import getpass
import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.utils import timezone
from rich.table import Table

from hub.errors import ErrorCode, IntegrationError
from hub.management.arguments import PAGE, whole
from hub.management.command import HubCommand
from hub.management.drawing import drawn
from registry_app import history, maintenance, overview, prober, services, sync
from registry_app.sync import Difference

_SIGNS = {"add": "+", "change": "~", "remove": "-"}


class Command(HubCommand):
    """Show services and how they are, look after one, or make the registry as a file says."""

    help = "List services, show one, show the registry of a moment, probe, set maintenance, deregister, or sync from a file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        listing = verbs.add_parser("list", help="all instances, the sick first")
        listing.add_argument("--status", choices=["healthy", "degraded", "unhealthy", "unknown"])
        listing.add_argument("--limit", type=whole(1, PAGE), default=100)
        listing.add_argument("--json", action="store_true")
        show = verbs.add_parser("show", help="one service: its instances, what each witness says, the last changes")
        show.add_argument("service_name")
        show.add_argument("--json", action="store_true")
        at = verbs.add_parser("at", help="the registry as it was at a moment")
        at.add_argument("moment", help="ISO 8601; without a zone it is UTC")
        at.add_argument("--json", action="store_true")
        _add_id(verbs.add_parser("probe", help="probe an instance now"))
        self._add_changing_verbs(verbs)

    def _add_changing_verbs(self, verbs: Any) -> None:
        begin = verbs.add_parser("maintenance", help="take an instance out of routing for a while, or with --end back in")
        _add_id(begin)
        begin.add_argument("--minutes", type=float, default=30)
        begin.add_argument("--end", action="store_true")
        begin.add_argument("--reason", default="maintenance")
        leave = verbs.add_parser("deregister", help="take an instance out of the registry")
        _add_id(leave)
        leave.add_argument("--reason", required=True)
        same = verbs.add_parser("sync", help="make the registry as a TOML or YAML file says; shows the difference first")
        same.add_argument("file", type=Path)
        same.add_argument("--yes", action="store_true", help="apply without asking")
        same.add_argument("--check", action="store_true", help="only show the difference; exit code 1 when there is one")
        same.add_argument("--prune", action="store_true", help="take out what the file's owner registered and the file does not name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the verb."""
        if "service_id" in options:
            options["service_id"] = overview.completed(options["service_id"])
        getattr(self, f"_{options['verb']}")(options)

    def _list(self, options: dict[str, Any]) -> None:
        rows = overview.sick_first(status=options["status"], limit=options["limit"])
        if options["json"]:
            return self.stdout.write(json.dumps([overview.as_json(row) for row in rows], indent=2))
        table = Table("service", "version", "endpoint", "status", "since", "reason", "id")
        for row in rows:
            table.add_row(
                row.service_name,
                row.service_version,
                row.endpoint,
                overview.standing(row),
                _short(row.status_since),
                row.reason,
                row.service_id,
            )
        self._print(table)
        return self.stdout.write(overview.summary_line(services.health_summary()))

    def _show(self, options: dict[str, Any]) -> None:
        rows = overview.instances_of(options["service_name"])
        if options["json"]:
            return self.stdout.write(json.dumps([overview.as_json(row) for row in rows], indent=2))
        for row in rows:
            self.stdout.write(f"{row.service_name} {row.service_version} at {row.endpoint}: {overview.standing(row)}, {row.reason}")
            for name, said in row.witnesses.items():
                self.stdout.write(f"  {name}: {said['verdict']}, {said['reason']} ({said['at']})")
            for change in row.changes.order_by("-at")[:10]:
                self.stdout.write(f"  {_short(change.at)} {change.kind}: {change.old_status} -> {change.new_status}, {change.reason}")

    def _at(self, options: dict[str, Any]) -> None:
        found = history.registry_at(_moment(options["moment"]))
        if options["json"]:
            return self.stdout.write(json.dumps([asdict(one) for one in found], indent=2, default=str))
        table = Table("service", "version", "endpoint", "status", "since", "reason")
        for one in found:
            status = f"{one.status}, in maintenance" if one.in_maintenance else one.status
            table.add_row(one.service_name, one.service_version, one.endpoint, status, _short(one.since), one.reason)
        return self._print(table)

    def _probe(self, options: dict[str, Any]) -> None:
        services.get(options["service_id"])
        self.stdout.write(str(prober.probe_now(options["service_id"])))

    def _maintenance(self, options: dict[str, Any]) -> None:
        if options["end"]:
            maintenance.end(options["service_id"], by=getpass.getuser())
            return self.stdout.write("back in routing")
        until = maintenance.begin(options["service_id"], minutes=options["minutes"], reason=options["reason"], by=getpass.getuser())
        return self.stdout.write(f"out of routing until {until.isoformat(timespec='seconds')}")

    def _deregister(self, options: dict[str, Any]) -> None:
        services.deregister(options["service_id"], reason=f"{options['reason']} ({getpass.getuser()})", force=True)
        self.stdout.write("deregistered")

    def _sync(self, options: dict[str, Any]) -> None:
        wanted = sync.read(options["file"])
        found = sync.differences(wanted, remove_others=options["prune"])
        for one in found:
            self.stdout.write(_in_words(one))
        if not found:
            return self.stdout.write(f"{len(wanted.services)} services are registered as the file says")
        if options["check"]:
            sys.exit(1)
        if not options["yes"] and not _is_wanted(len(found)):
            raise CommandError("nothing was changed: confirm at a terminal, or give --yes")
        sync.apply(wanted, found)
        return self.stdout.write(f"{len(found)} changes applied")

    def _print(self, table: Table) -> None:
        self.stdout.write(drawn(table, width=200))


def _add_id(verb: ArgumentParser) -> None:
    verb.add_argument("service_id", help="or its first four characters or more, where no other instance begins so")


def _in_words(one: Difference) -> str:
    lines = [f"{_SIGNS[one.action]} {one.title}"]
    for name, (old, new) in one.fields.items():
        lines.append(f"    {name}: {json.dumps(new)}" if one.action == "add" else f"    {name}: {json.dumps(old)} -> {json.dumps(new)}")
    return "\n".join(lines)


def _is_wanted(count: int) -> bool:
    return sys.stdin.isatty() and input(f"Apply {count} changes? [y/N] ").strip().lower() in ("y", "yes")


def _moment(text: str) -> datetime:
    """Return a moment of the past of which the registry is still known; E11909 for any other."""
    now, kept = timezone.now(), timedelta(days=settings.HUB.registry_retention_days)
    try:
        given = datetime.fromisoformat(text)
        moment = given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise IntegrationError(ErrorCode.TIME_MALFORMED, f"not a moment: {text!r:.60}") from None
    if moment > now:
        raise IntegrationError(ErrorCode.TIME_MALFORMED, f"{_short(moment)} UTC is yet to come")
    if moment < now - kept:
        since = _short(now - kept)
        raise IntegrationError(ErrorCode.TIME_MALFORMED, f"changes are kept since {since} UTC (HUB_REGISTRY_RETENTION_DAYS), not longer")
    return moment


def _short(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="seconds")[:19]
