"""``manage.py circuits``: how the breakers of the fleet stand, and the operator's word on them."""

from __future__ import annotations

import getpass
import json
from argparse import ArgumentParser
from typing import Any

from hub.circuits import breaker, history, services
from hub.circuits.models import CircuitTransition
from hub.circuits.policy import CircuitState
from hub.circuits.snapshots import CircuitSnapshot
from hub.management.command import HubCommand

MODES = {
    "force-open": CircuitState.FORCED_OPEN,
    "force-close": CircuitState.FORCED_CLOSED,
    "metrics-only": CircuitState.METRICS_ONLY,
}
MAX_TRANSITIONS = 200


class Command(HubCommand):
    """List, show, force and reset breakers; ``--json`` for scripts. Exit status 1 when something was refused."""

    help = "List, show, force and reset circuit breakers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the subcommands."""
        actions = parser.add_subparsers(dest="action", metavar="list|show|force-open|force-close|metrics-only|reset")
        _add_json(actions.add_parser("list", help="every breaker of the fleet"))
        show = actions.add_parser("show", help="one breaker and its last transitions")
        show.add_argument("service_name")
        show.add_argument("--last", type=int, default=10, help=f"transitions to show, at most {MAX_TRANSITIONS}")
        _add_json(show)
        for name in MODES:
            force = actions.add_parser(name, help="for the whole fleet, for a time")
            force.add_argument("service_name")
            force.add_argument("--why", required=True, help="for whoever is on call next")
            force.add_argument("--for-sec", type=float, default=services.DEFAULT_FORCE_SEC, help="ends by itself after so many seconds")
            force.add_argument("--by", default=getpass.getuser())
            _add_json(force)
        reset = actions.add_parser("reset", help="close it and forget what it counted")
        reset.add_argument("service_name")
        reset.add_argument("--why", default="reset")
        reset.add_argument("--by", default=getpass.getuser())
        _add_json(reset)

    def handle(self, *args: Any, action: str | None = None, **options: Any) -> None:
        """Do one action."""
        action = action or "list"
        as_json = options.get("as_json", False)
        if action == "list":
            self._print([one.as_dict() for one in services.all_states()], as_json, _table)
        elif action == "show":
            self._print(_details(options["service_name"], options["last"]), as_json, _page)
        else:
            self._print(_change(action, options).as_dict(), as_json, _line)

    def _print(self, found: Any, as_json: bool, as_text: Any) -> None:
        self.stdout.write(json.dumps(found, default=str) if as_json else as_text(found))


def _add_json(parser: Any) -> None:
    parser.add_argument("--json", action="store_true", dest="as_json")


def _change(action: str, options: dict[str, Any]) -> CircuitSnapshot:
    name, by, why = options["service_name"], options["by"], options["why"]
    if action == "reset":
        seen = services.reset(name, by=by, why=why)
    else:
        seen = services.force(name, MODES[action], by=by, why=why, for_sec=options["for_sec"])
    history.record_transitions()
    return seen


def _details(service_name: str, last: int) -> dict[str, Any]:
    history.record_transitions()
    columns = ("at", "old_state", "new_state", "why", "by", "reason", "until", "trace_id", "case")
    rows = CircuitTransition.objects.filter(service_name=service_name).values(*columns)
    return breaker.look(service_name).as_dict() | {"transitions": list(rows[: max(0, min(last, MAX_TRANSITIONS))])}


def _table(found: list[dict[str, Any]]) -> str:
    return "\n".join(_line(one) for one in found) or "no breaker has been used yet"


def _line(one: dict[str, Any]) -> str:
    manual = f"  by {one['manual_by']}: {one['manual_why']}" if one["manual_by"] else ""
    alone = "" if one["shared"] else "  (this process only: Redis is gone)"
    return f"{one['service_name']:<32} {one['state']!s:<14} {one['error_rate']:>6.1%} of {one['ok'] + one['failed']} calls{manual}{alone}"


def _page(one: dict[str, Any]) -> str:
    moves = [
        f"  {row['at']:%Y-%m-%d %H:%M:%S}  {row['old_state']} -> {row['new_state']}  {row['why']}  {row['reason']}"
        for row in one["transitions"]
    ]
    return "\n".join([_line(one), *moves])
