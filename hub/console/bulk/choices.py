"""Which actions may be done to many at once, and to rows of which status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hub.console.acting.shape import Action, Subject
from hub.console.deadletters.actions import LETTER
from hub.console.saga.actions import SAGA
from sagas.states import SagaStatus as S

_TURNED_BACK = frozenset({S.FAILED.value, S.NEEDS_OPERATOR.value})


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """An action for many; a row of another status than these is named as one that cannot be acted on."""

    subject: Subject
    action: Action
    statuses: frozenset[str]


def _choice(subject: Subject, name: str, statuses: frozenset[str]) -> Choice:
    action = next(one for one in subject.actions if one.name == name)
    return Choice(subject=subject, action=action, statuses=statuses)


_ALL = (
    _choice(SAGA, "cancel", frozenset({S.PENDING.value, S.RUNNING.value, S.WAITING.value})),
    _choice(SAGA, "retry", _TURNED_BACK),
    _choice(SAGA, "retry-undo", frozenset({S.NEEDS_OPERATOR.value})),
    _choice(SAGA, "compensate", _TURNED_BACK),
    _choice(LETTER, "replay", frozenset({"open"})),
    _choice(LETTER, "discard", frozenset({"open"})),
)
CHOICES: Mapping[tuple[str, str], Choice] = {(one.subject.name, one.action.name): one for one in _ALL}


def of(subject: str) -> list[Choice]:
    """Return what may be done to many of a kind."""
    return [choice for (name, _), choice in CHOICES.items() if name == subject]
