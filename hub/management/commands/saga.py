"""``manage.py saga ...``: sagas for who has a shell and no browser, and for the deployment that must not strand them."""

from __future__ import annotations

import getpass
import json
import shlex
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError
from rich.table import Table

from hub.console.acting.shape import Action, Field
from hub.console.saga import story
from hub.console.saga.actions import SAGA
from hub.management.arguments import PAGE, json_text, whole
from hub.management.command import HubCommand
from hub.management.drawing import drawn
from sagas import beginnings, deploys, reruns, services, signals, store
from sagas.models import SagaLock, SagaTransition
from sagas.states import SagaStatus
from sagas.store import Loaded

LOCKS_SHOWN = 50


class Command(HubCommand):
    help = "Start, list and show sagas, act on one with a reason, or check a deployment against those in flight."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        listing = verbs.add_parser("list", help="newest sagas first")
        listing.add_argument("--status", choices=[status.value for status in SagaStatus])
        listing.add_argument("--name")
        listing.add_argument("--limit", type=whole(1, PAGE), default=20)
        listing.add_argument("--json", action="store_true")
        show = verbs.add_parser("show", help="one saga with its steps and history")
        _add_id(show)
        show.add_argument("--json", action="store_true")
        start = verbs.add_parser("start", help="start a run of a saga; workers carry it out")
        start.add_argument("saga_name")
        start.add_argument("--context", type=json_text("context"), default=None, help="JSON object, what its steps are given")
        start.add_argument("--key", help="idempotency key: the same gives the same run")
        for verb, help in (
            ("retry", "send a failed saga on from the step, or the undo, that failed"),
            ("compensate", "undo a failed saga now"),
            ("cancel", "turn a running saga back"),
            ("skip", "go on without a step, or an undo, that was dealt with by hand"),
            ("resolve", "end a failed saga: what it left was put right by hand"),
            ("rerun", "run an ended saga again from a step, as a new one"),
        ):
            action = verbs.add_parser(verb, help=help)
            _add_id(action)
            action.add_argument("--reason", required=True)
            _add_extras(action, verb)
        plan = verbs.add_parser("plan", help="what cancelling it now, or compensating it once it has ended, would undo")
        _add_id(plan)
        signal = verbs.add_parser("signal", help="give a saga the signal that a step waits for")
        _add_id(signal)
        signal.add_argument("name")
        signal.add_argument("--payload", type=json_text("payload"), default=None, help="JSON")
        check = verbs.add_parser("check", help="would this code strand sagas in flight? exits 1 and names them if so")
        check.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        if "execution_id" in options:
            options["execution_id"] = beginnings.completed(options["execution_id"])
        getattr(self, f"_{options['verb']}")(options)

    def _list(self, options: dict[str, Any]) -> None:
        found = services.executions(status=options["status"], saga_name=options["name"], limit=options["limit"])
        if options["json"]:
            return self.stdout.write(json.dumps(found, indent=2))
        table = Table("execution", "saga", "status", "cause", "started")
        for run in found:
            table.add_row(run["execution_id"], run["saga_name"], run["status"], run["cause"], run["created_at"][:19])
        return self._print(table)

    def _show(self, options: dict[str, Any]) -> None:
        found = services.status(options["execution_id"])
        loaded = store.load(found["execution_id"])
        if options["json"]:
            return self.stdout.write(json.dumps({**found, "story": asdict(_told(loaded)), "can_be_done": _offered(loaded)}, indent=2))
        self.stdout.write(headline(found))
        self.stdout.write("\n".join(in_words(loaded)))
        table = Table("step", "status", "tries", "undo tries", "error")
        for step in found["steps"]:
            table.add_row(step["step_id"], step["status"], str(step["attempts"]), str(step["undo_attempts"]), _error(step))
        self._print(table)
        history = Table("at", "step", "from", "to", "reason", "by")
        for move in SagaTransition.objects.filter(execution=found["execution_id"]).order_by("id")[:500]:
            history.add_row(move.at.isoformat()[:23], move.step_id or "saga", move.old, move.new, move.reason, move.actor)
        return self._print(history)

    def _start(self, options: dict[str, Any]) -> None:
        self._say(services.start(options["saga_name"], options["context"], idempotency_key=options["key"]))

    def _retry(self, options: dict[str, Any]) -> None:
        self._say(services.retry(options["execution_id"], reason=options["reason"], actor=getpass.getuser()))

    def _compensate(self, options: dict[str, Any]) -> None:
        self._say(services.compensate(options["execution_id"], reason=options["reason"], actor=getpass.getuser()))

    def _cancel(self, options: dict[str, Any]) -> None:
        self._say(services.cancel(options["execution_id"], reason=options["reason"], actor=getpass.getuser()))

    def _skip(self, options: dict[str, Any]) -> None:
        reason, actor = options["reason"], getpass.getuser()
        self._say(services.skip(options["execution_id"], options["step"], reason=reason, actor=actor))

    def _resolve(self, options: dict[str, Any]) -> None:
        reason, actor = options["reason"], getpass.getuser()
        self._say(services.resolve(options["execution_id"], options["outcome"], reason=reason, actor=actor))

    def _rerun(self, options: dict[str, Any]) -> None:
        changes, actor = options["changes"], getpass.getuser()
        self._say(services.rerun(options["execution_id"], options["step"], reason=options["reason"], changes=changes, actor=actor))

    def _signal(self, options: dict[str, Any]) -> None:
        self._say(signals.give(options["execution_id"], options["name"], options["payload"], actor=getpass.getuser()))

    def _plan(self, options: dict[str, Any]) -> None:
        undos = services.undo_plan(options["execution_id"])
        if not undos:
            return self.stdout.write("nothing would be undone")
        table = Table("order", "step", "its effect", "undo")
        for number, undo in enumerate(undos, 1):
            first = " (runs now, ends first)" if undo["ends_first"] else ""
            table.add_row(str(number), undo["step_id"], undo["certainty"] + first, undo["call"])
        return self._print(table)

    def _check(self, options: dict[str, Any]) -> None:
        stranded = deploys.stranded()
        if options["json"]:
            self.stdout.write(json.dumps(stranded, indent=2))
        for found in stranded if not options["json"] else ():
            self.stdout.write(f"{found['runs']} runs of {found['saga_name']} {found['version']}: {found['why']}")
            self.stdout.write("  " + " ".join(found["execution_ids"]))
        if stranded:
            raise CommandError(
                f"{sum(found['runs'] for found in stranded)} sagas in flight would park; deploy their version beside the new one"
            )
        if not options["json"]:
            self.stdout.write("no saga in flight would be stranded by this code")

    def _say(self, answer: dict[str, Any]) -> None:
        self.stdout.write(f"{answer['execution_id']} is {answer['status']}")

    def _print(self, table: Table) -> None:
        self.stdout.write(drawn(table, width=160))


def _add_id(verb: ArgumentParser) -> None:
    verb.add_argument("execution_id", help="or its first four characters or more, where no other saga begins so")


def _add_extras(action: ArgumentParser, verb: str) -> None:
    if verb in ("skip", "rerun"):
        action.add_argument("--step", required=True)
    if verb == "resolve":
        action.add_argument("--outcome", required=True, choices=["completed", "compensated"])
    if verb == "rerun":
        action.add_argument("--changes", type=json_text("changes"), default=None, help="JSON object, merged into the context")


def headline(found: dict[str, Any]) -> str:
    """Say in a few lines how a saga stands and why, and which runs belong to it."""
    lines = [f"{found['saga_name']} {found['execution_id']}: {found['status']}"]
    if found["error"]:
        lines.append(f"cause: {found['cause'] or 'parked'}: {found['error'].get('code')} {found['error'].get('message')}")
    if found["blocked"]:
        lines.append(f"waits: {found['blocked']}")
    lines += [f"{name}: {found[key]}" for name, key in (("parent", "parent"), ("run again of", "rerun_of")) if found[key]]
    lines += [f"child: {child['execution_id']}, {child['saga_name']}, is {child['status']}" for child in found["children"]]
    return "\n".join(lines)


def in_words(loaded: Loaded) -> Iterator[str]:
    """Say what stands, what was undone, what is in doubt, and what can be done, in the words of the saga's page."""
    told = _told(loaded)
    for name in ("stands", "undone", "in_doubt", "not_undone", "under_way"):
        steps = getattr(told, name)
        if steps:
            yield f"{name.replace('_', ' ')}: {', '.join(steps)}"
    held = [lock.name for lock in SagaLock.objects.filter(execution=loaded.row.pk).order_by("name")[:LOCKS_SHOWN]]
    if held:
        yield f"holds: {', '.join(held)}"
    yield told.what_next
    for action in _actions(loaded):
        yield f"  manage.py saga {_verb(action)} {loaded.row.pk}{_asked(action, loaded)}   {action.explains}"


def _told(loaded: Loaded) -> story.Story:
    return story.tell(loaded.spec, loaded.run, run_again_as=reruns.stands_on(loaded.row))


VERBS = {"retry-undo": "retry"}
"""Actions of the page that the shell calls by another name."""


def _offered(loaded: Loaded) -> dict[str, str]:
    """Return what the machine would accept now, by the name of its command, with what it does."""
    return {_verb(action): action.explains for action in _actions(loaded)}


def _actions(loaded: Loaded) -> list[Action]:
    return [one for one in SAGA.actions if one.is_offered(loaded)]


def _verb(action: Action) -> str:
    return VERBS.get(action.name, action.name)


def _asked(action: Action, loaded: Loaded) -> str:
    required = [field for field in action.fields(loaded) if field.required]
    if action.name == "signal":  # the shell asks for no reason: layers give none either
        return "".join(f" {_usual(action, field)}" for field in required)
    return "".join(f" --{field.name} {_usual(action, field)}" for field in required) + " --reason ..."


def _usual(action: Action, field: Field) -> str:
    """Return the choice that comes first; a run begins again at the last step that it may begin again at."""
    return shlex.quote(field.choices[-1 if action.name == "rerun" else 0])


def _error(step: dict[str, Any]) -> str:
    error = step["undo_error"] or step["error"]
    return f"{error.get('code')} {error.get('message', '')}"[:80] if error else ""
