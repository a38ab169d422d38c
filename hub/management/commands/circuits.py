"""``manage.py circuits``: how the breakers of the fleet stand, the operator's word on them, and what other thresholds would do."""

from __future__ import annotations

import getpass
import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from hub.circuits import breaker, history, services
from hub.circuits.config import CONFIG_FIELDS
from hub.circuits.models import CircuitSetting, CircuitTransition
from hub.circuits.policy import CircuitState
from hub.circuits.snapshots import CircuitSnapshot
from hub.errors import ErrorCode, IntegrationError
from hub.management.arguments import whole
from hub.management.command import HubCommand
from hub.routing import recorded
from registry_app.models import Service

MODES = {
    "force-open": CircuitState.FORCED_OPEN,
    "force-close": CircuitState.FORCED_CLOSED,
    "metrics-only": CircuitState.METRICS_ONLY,
}
MAX_TRANSITIONS = 200
MAX_NAMES = 5_000
NONE = "no breaker has been used yet"


class Command(HubCommand):
    """List, show, force and reset breakers, and try thresholds; ``--json`` for scripts. Exit status 1 when something was refused."""

    help = "List, show, force and reset circuit breakers, and try other thresholds on the calls that were recorded."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the subcommands."""
        actions = parser.add_subparsers(dest="action", metavar="list|show|force-open|force-close|metrics-only|reset|what-if")
        _add_json(actions.add_parser("list", help="every breaker of the fleet"))
        show = actions.add_parser("show", help="one breaker and its last transitions")
        show.add_argument("service_name")
        show.add_argument("--last", type=whole(0, MAX_TRANSITIONS), default=10, help="transitions to show")
        _add_json(show)
        for name in MODES:
            force = actions.add_parser(name, help="for the whole fleet, for a time")
            force.add_argument("service_name")
            force.add_argument("--why", required=True, help="for whoever is on call next")
            force.add_argument("--for-sec", type=float, default=services.DEFAULT_FORCE_SEC, help="ends by itself after so many seconds")
            _add_who(force)
        reset = actions.add_parser("reset", help="close it and forget what it counted")
        reset.add_argument("service_name")
        reset.add_argument("--why", default="reset")
        _add_who(reset)
        what_if = actions.add_parser("what-if", help="what other thresholds would have done with the calls that were recorded")
        what_if.add_argument("service_name")
        what_if.add_argument("--hours", type=whole(1, recorded.MAX_HOURS), default=24, help="how far to look back (default: 24)")
        for name in CONFIG_FIELDS:
            what_if.add_argument(f"--{name.replace('_', '-')}", type=_number, metavar="N")
        _add_json(what_if)

    def handle(self, *args: Any, action: str | None = None, **options: Any) -> None:
        """Do one action."""
        action = action or "list"
        as_json = options.get("as_json", False)
        if action == "list":
            self._list(as_json)
        elif action == "show":
            self._print(_details(options["service_name"], options["last"]), as_json, _page)
        elif action == "what-if":
            self._print(_what_if(options), as_json, _comparison)
        else:
            self._print(_change(action, options).as_dict(), as_json, _line)

    def _list(self, as_json: bool) -> None:
        try:
            services.check_shared()
        except IntegrationError:
            self._print([_as_decided(row) for row in services.decided()], as_json, _table)
            raise
        self._print([one.as_dict() for one in services.all_states()], as_json, lambda found: _table(found) or NONE)

    def _print(self, found: Any, as_json: bool, as_text: Any) -> None:
        self.stdout.write(json.dumps(found, default=str) if as_json else as_text(found))


def _add_json(parser: Any) -> None:
    parser.add_argument("--json", action="store_true", dest="as_json")


def _add_who(parser: Any) -> None:
    parser.add_argument("--by", default=getpass.getuser())
    parser.add_argument("--unseen", action="store_true", help="though no service and no breaker has that name yet")
    _add_json(parser)


def _number(text: str) -> float:
    """Read a threshold; which ones are whole and how large they may be is the policy's to say."""
    return int(text) if text.isascii() and text.isdecimal() else float(text)


def _change(action: str, options: dict[str, Any]) -> CircuitSnapshot:
    name, by, why = options["service_name"], options["by"], options["why"]
    if not options["unseen"]:
        _check_known(breaker.check_name(name), todo="give --unseen if it is to hold before the first call")
    if action == "reset":
        seen = services.reset(name, by=by, why=why)
    else:
        seen = services.force(name, MODES[action], by=by, why=why, for_sec=options["for_sec"])
    history.record_transitions()
    return seen


def _check_known(name: str, *, todo: str) -> None:
    """Refuse a name that nothing has: a mistyped breaker would be called closed, and whoever forced it believe that calls are refused."""
    registered = Service.objects.filter(deregistered_at=None).values_list("service_name", flat=True).distinct()
    if registered.filter(service_name=name).exists():
        return
    services.check_shared()
    breakers = [seen.service_name for seen in services.all_states()]
    if name not in breakers:
        close = get_close_matches(name, {*breakers, *registered[:MAX_NAMES]})
        alike = f"; alike are {', '.join(close)}" if close else ""
        raise IntegrationError(
            ErrorCode.BREAKER_NOT_FOUND,
            f"no service and no breaker has the name {name!r}{alike}",
            recovery_suggestion=todo,
        )


def _as_decided(row: CircuitSetting) -> dict[str, Any]:
    until_ms = int(row.mode_until.timestamp() * 1000) if row.mode_until else 0
    manual = {"manual_by": row.mode_by, "manual_why": row.mode_why, "manual_until_ms": until_ms}
    return {"service_name": row.service_name, "state": row.mode, "shared": False, **manual}


def _details(service_name: str, last: int) -> dict[str, Any]:
    _check_known(breaker.check_name(service_name), todo="see `circuits list`")
    history.record_transitions()
    columns = ("at", "old_state", "new_state", "why", "by", "reason", "until", "trace_id", "case")
    rows = CircuitTransition.objects.filter(service_name=service_name).values(*columns)
    return breaker.look(service_name).as_dict() | {"transitions": list(rows[:last])}


def _table(found: list[dict[str, Any]]) -> str:
    return "\n".join(_line(one) for one in found)


def _line(one: dict[str, Any]) -> str:
    counted = f"{one['error_rate']:>6.1%} of {one['ok'] + one['failed']} calls" if "ok" in one else "as it was decided"
    alone = "" if one["shared"] else "  (Redis does not answer)"
    return f"{one['service_name']:<32} {one['state']!s:<14} {counted}{_until(one)}{alone}"


def _until(one: dict[str, Any]) -> str:
    """Say until when a state lasts, and by whose word or for what."""
    if one["manual_by"]:
        return f"  until {_moment(one['manual_until_ms'])} by {one['manual_by']}: {one['manual_why']}"
    return f"  until {_moment(one['open_until_ms'])} ({one['why'].replace('_', ' ')})" if one["state"] == CircuitState.OPEN else ""


def _moment(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _page(one: dict[str, Any]) -> str:
    moves = [
        f"  {row['at']:%Y-%m-%d %H:%M:%S}  {row['old_state']} -> {row['new_state']}  {row['why']}  {row['reason']}"
        for row in one["transitions"]
    ]
    return "\n".join([_line(one), *moves])


def _what_if(options: dict[str, Any]) -> dict[str, Any]:
    changed = {name: options[name] for name in CONFIG_FIELDS if options[name] is not None}
    return recorded.what_if(options["service_name"], changed, hours=options["hours"])


def _comparison(found: dict[str, Any]) -> str:
    if not found["calls"]:
        return f"no call of {found['service_name']} is recorded in that time, so nothing can be said"
    changed = ", ".join(f"{name} {value:g}" for name, value in found["changed"].items())
    lines = [
        f"{found['service_name']}: {found['calls']} calls since {found['since']:%Y-%m-%d %H:%M:%S} UTC, {found['failed']} of them failed",
        *_outcome("as it is", found["as_is"]),
        *(_outcome(f"with {changed}", found["what_if"]) if changed else ()),
    ]
    if found["refused"]:
        lines.append(f"not among them, because the breaker refused it then: {found['refused']}; how that would have ended nobody knows")
    return "\n".join(lines)


def _outcome(title: str, seen: dict[str, Any]) -> list[str]:
    openings = [
        f"    open from {_moment(one['at_ms'])} to {_moment(one['until_ms'])} ({one['why'].replace('_', ' ')})"
        for one in seen["openings"][:MAX_TRANSITIONS]
    ]
    refused = f"refused: {seen['refused_good']} good and {seen['refused_failed']} failing calls"
    return [f"  {title}: openings: {len(seen['openings'])}, {refused}, let through: {seen['failed_through']} failing ones", *openings]
