"""One shape for all that an operator does: what it is called, who may, when it is offered, what its form asks, what it calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID, uuid4

from django.urls import reverse

from hub.console import audit
from hub.console.models import OperatorAction
from hub.errors import ErrorCode, IntegrationError

May = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One input of a form; a `confirm` is a box to tick, and what lies outside `low` to `high` is refused."""

    name: str
    label: str
    kind: Literal["number", "choice", "json", "confirm"]
    choices: Sequence[str] = ()
    initial: str = ""
    low: float = 0
    high: float = 0
    required: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What a form brought."""

    subject_id: str
    reason: str
    by: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """What can be done to a thing; `call` returns what to tell, and raises `IntegrationError` to refuse."""

    name: str
    label: str
    permission: str
    explains: str
    call: Callable[[Given], str]
    is_offered: Callable[[Any], bool] = lambda thing: True
    fields: Callable[[Any], Sequence[Field]] = lambda thing: ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A kind of thing: how one is found by its id (`IntegrationError` when it is not there), how it stands, what can be done.

    An address may spell an id in several ways; `id_of` is the one way in which it is acted on and written down.
    """

    name: str
    view_permission: str
    find: Callable[[str], Any]
    id_of: Callable[[Any], str]
    look: Callable[[str], dict[str, Any]]
    page: Callable[[str], str]
    actions: Sequence[Action]
    also_needs: Callable[[Any], str] = lambda thing: ""
    """A permission that depends on the thing, besides that of the action."""

    def action(self, name: str) -> Action | None:
        """Return an action by its name."""
        return next((one for one in self.actions if one.name == name), None)

    def may(self, action: Action, thing: Any, may: May) -> bool:
        """Tell whether a person may do it to this thing."""
        needed = (self.view_permission, f"console.{action.permission}", self.also_needs(thing))
        return all(may(permission) for permission in needed if permission)


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """An action as the page offers it; `token` makes its form act once."""

    action: Action
    fields: Sequence[Field]
    url: str
    token: UUID


def offers(subject: Subject, thing: Any, may: May) -> list[Offer]:
    """Return what this person may do to the thing as it stands."""
    thing_id = subject.id_of(thing)
    found = [action for action in subject.actions if subject.may(action, thing, may) and action.is_offered(thing)]
    return [
        Offer(
            action=action,
            fields=action.fields(thing),
            url=reverse("console:act", args=[subject.name, thing_id, action.name]),
            token=uuid4(),
        )
        for action in found
    ]


def do(subject: Subject, action: Action, given: Given, *, token: UUID, again: bool = False) -> OperatorAction:
    """Carry an action out, once for each token, and return what became of it; E11901 without a reason.

    With `again`, one whose process ended in the middle is taken up where it ended.
    """
    wish = audit.Wish(token=token, by=given.by, action=action.label, subject=subject.name, subject_id=given.subject_id, reason=given.reason)
    return audit.carry_out(wish, lambda: action.call(given), lambda: subject.look(given.subject_id), again=again)


def read(fields: Sequence[Field], sent: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of a form; E11901 what is missing, E11902 what is no such value, E11904 what is not JSON.

    A number that may stay empty and was left as the page showed it is not among them: somebody may have set it since.
    """
    return {one.name: _value(one, sent.get(one.name, "").strip()) for one in fields if not _is_as_shown(one, sent)}


def _is_as_shown(wanted: Field, sent: Mapping[str, str]) -> bool:
    shown = sent.get(f"was.{wanted.name}") if wanted.kind == "number" and not wanted.required else None
    return shown is not None and shown == sent.get(wanted.name)


def _value(wanted: Field, text: str) -> Any:
    if not text:
        if wanted.required:
            raise IntegrationError(ErrorCode.ARGUMENT_MISSING, f"{wanted.label!r} is required")
        return {} if wanted.kind == "json" else None
    if wanted.kind == "number":
        return _number(wanted, text)
    if wanted.kind == "json":
        return _json(wanted, text)
    if wanted.kind == "choice" and text not in wanted.choices:
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"{wanted.label!r} cannot be {text[:80]!r}")
    return text


def _number(wanted: Field, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not wanted.low <= number <= wanted.high:
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"{wanted.label!r} must be {wanted.low:g} to {wanted.high:g}, not {text[:40]!r}")
    return int(number) if number.is_integer() else number


def _json(wanted: Field, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise IntegrationError(ErrorCode.JSON_MALFORMED, f"{wanted.label!r} is not JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"{wanted.label!r} must be a JSON object, not {type(found).__name__}")
    return found
