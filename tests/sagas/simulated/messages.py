"""What travels through the simulated queue."""

from __future__ import annotations

from dataclasses import dataclass

from sagas.states import Direction
from tests.sagas.simulated.network import Ended
from tests.sagas.simulated.target import Request


@dataclass(frozen=True, slots=True)
class Link:
    """A chain of steps of which the first is to be done now."""

    saga: str
    steps: tuple[int, ...]
    direction: Direction
    task_id: str


@dataclass(frozen=True, slots=True)
class Theirs:
    """A task in a layer's own queue."""

    saga: str
    index: int
    epoch: int
    request: Request


@dataclass(frozen=True, slots=True)
class Finish:
    """What became of a layer's task."""

    saga: str
    index: int
    epoch: int
    ended: Ended


@dataclass(frozen=True, slots=True)
class LinkFailed:
    """The error callback of a link."""

    saga: str
    task_id: str


Message = Link | Theirs | Finish | LinkFailed
