"""``manage.py events``: subscribe durably, who would get what, which topics nobody wants, and the past for a subscription."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from hub.events import replays, subscriptions, targets, whereabouts
from hub.events.models import Subscription
from hub.events.targets import METHODS
from hub.management.command import HubCommand

MAX_TOPICS = 200


class Command(HubCommand):
    help = "Make and look at durable subscriptions, look at topics, and replay the past to a subscription."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")
        commands = parser.add_subparsers(dest="command", required=True)
        commands.add_parser("list", help="durable subscriptions and what waits for them")
        commands.add_parser("show", help="what became of one event, and for whom").add_argument("event_id")
        commands.add_parser("who", help="who would get an event on this topic now").add_argument("topic")
        commands.add_parser("orphans", help="topics that nobody durable wants")
        subscribe = commands.add_parser("subscribe", help="make a durable subscription, or change the one of this name")
        subscribe.add_argument("name")
        subscribe.add_argument("pattern")
        for option, text in (("--task", "deliver to this Celery task"), ("--queue", "in this queue"), ("--service", "or to this service")):
            subscribe.add_argument(option, help=text)
        subscribe.add_argument("--path", help="at this path")
        subscribe.add_argument("--method", choices=METHODS, help="POST unless said otherwise")
        subscribe.add_argument("--everything", action="store_true", help="allow a pattern that matches every topic")
        commands.add_parser("unsubscribe", help="remove one, with all it has not delivered yet").add_argument("name")
        for name, text in (("pause", "stop sending; events are kept"), ("resume", "go on with everything that was kept")):
            commands.add_parser(name, help=text).add_argument("name")
        replay = commands.add_parser("replay", help="give a subscription the events since a moment of the past")
        replay.add_argument("name")
        replay.add_argument("--since", required=True, help="ISO 8601 with a zone, such as 2026-11-01T00:00:00Z")
        replay.add_argument("--again", action="store_true", help="also those it has already")
        for verb in commands.choices.values():
            verb.add_argument("--json", action="store_true", default=SUPPRESS, help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        found = getattr(self, f"_{options['command']}")(options)
        self.print_rows(found, as_json=options["json"])

    def _list(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        return [_summary(row) for row in Subscription.objects.order_by("name")]

    def _show(self, options: dict[str, Any]) -> dict[str, Any] | list[dict[str, Any]]:
        found = asdict(whereabouts.of(options["event_id"]))
        return found if options["json"] else [found, *found.pop("deliveries")]

    def _who(self, options: dict[str, Any]) -> dict[str, Any]:
        return asdict(subscriptions.who_would_get(options["topic"]))

    def _orphans(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"topic": row.name, "unwanted": row.unwanted, "last_at": row.last_at} for row in subscriptions.orphan_topics()[:MAX_TOPICS]]

    def _subscribe(self, options: dict[str, Any]) -> dict[str, Any]:
        named = {"task": options["task"], "queue": options["queue"], "service_name": options["service"], "path": options["path"]}
        given = {name: value for name, value in (named | {"method": options["method"]}).items() if value is not None}
        row = subscriptions.subscribe(options["name"], options["pattern"], targets.from_fields(given), everything=options["everything"])
        return _summary(row)

    def _unsubscribe(self, options: dict[str, Any]) -> dict[str, Any]:
        given_up = _summary(subscriptions.find(options["name"]))
        subscriptions.unsubscribe(options["name"])
        return given_up | {"state": "removed"}

    def _pause(self, options: dict[str, Any]) -> dict[str, Any]:
        subscriptions.pause(options["name"])
        return _summary(subscriptions.find(options["name"]))

    def _resume(self, options: dict[str, Any]) -> dict[str, Any]:
        subscriptions.resume(options["name"])
        return _summary(subscriptions.find(options["name"]))

    def _replay(self, options: dict[str, Any]) -> dict[str, Any]:
        try:
            since = datetime.fromisoformat(options["since"])
        except ValueError as exc:
            raise CommandError(f"{options['since']!r} is no time in ISO 8601") from exc
        count = replays.from_time(options["name"], since, again=options["again"])
        return {"subscription": options["name"], "since": since.isoformat(), "deliveries": count}


def _summary(row: Subscription) -> dict[str, Any]:
    state = subscriptions.state_of(row)
    return {"name": row.name, "pattern": row.pattern, "target": row.target, "state": state, **subscriptions.backlog(row)}
