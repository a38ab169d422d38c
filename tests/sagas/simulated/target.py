"""The target of the steps: it honours keys and tombstones, and writes down what really happened."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from tests.sagas.checker import Entry
from tests.sagas.history import Direction
from tests.sagas.simulated.protections import Protections

Answer = Literal["ok", "refused"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One call of a step. A target knows its action and its undo as a pair, as ``X-Hub-Undo-Key`` lets it."""

    saga: str
    step: str
    direction: Direction
    key: str
    version: str


class Target:
    """`stubborn` holds the (saga, step, direction) that are refused always."""

    def __init__(self, protections: Protections, stubborn: Set[tuple[str, str, Direction]]) -> None:
        self.ledger: list[Entry] = []
        self._protections = protections
        self._stubborn = stubborn
        self._applied: set[str] = set()
        self._undone: set[tuple[str, str]] = set()

    def receive(self, request: Request) -> Answer:
        self._write("received", request)
        if self._refuses(request):
            self._write("rejected", request)
            return "refused"
        if request.direction == "undo":
            self._undone.add((request.saga, request.step))
        if self._protections.key_honoured and request.key in self._applied:
            self._write("replayed", request)
        else:
            self._applied.add(request.key)
            self._write("applied", request)
        return "ok"

    def deliver(self, request: Request) -> None:
        """Receive a request whose answer nobody hears."""
        self.receive(request)

    def reject(self, request: Request) -> None:
        """Answer 503 before any effect."""
        self._write("received", request)
        self._write("rejected", request)

    def _refuses(self, request: Request) -> bool:
        if (request.saga, request.step, request.direction) in self._stubborn:
            return True
        is_late = request.direction == "do" and (request.saga, request.step) in self._undone
        return is_late and self._protections.tombstone

    def _write(self, event: Literal["received", "applied", "replayed", "rejected"], request: Request) -> None:
        self.ledger.append(
            Entry(
                seq=len(self.ledger) + 1,
                event=event,
                key=request.key,
                saga=request.saga,
                step=request.step,
                direction=request.direction,
                version=request.version,
            )
        )
