"""Processes that take turns at every point where a real one could lose the processor, its life, or its messages."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

Turns = Generator[float, None, Any]
"""A process yields the seconds it waits for something, or 0 where others may come between."""

FAULTS: Mapping[str, float] = {
    "crash": 0.03,
    "pause": 0.08,
    "clock step": 0.01,
    "message lost": 0.06,
    "message doubled": 0.15,
    "request lost": 0.06,
    "request late": 0.08,
    "request doubled": 0.08,
    "answer lost": 0.06,
    "unavailable": 0.05,
    "not connected": 0.03,
    "circuit open": 0.03,
}
"""How likely each fault is at each point where it can strike."""


class GaveUp(Exception):
    """A process ended with an error, which is as good as a crash."""


@dataclass(slots=True, eq=False)
class Process:
    """One delivery in the hands of one worker. Its clock may be wrong by `skew_sec`."""

    world: World
    versions: frozenset[str]
    on_death: Callable[[], None] = lambda: None
    skew_sec: float = 0.0
    asleep_until: float = 0.0
    turns: Turns = field(init=False)

    def now(self) -> float:
        return self.world.now + self.skew_sec


class World:
    """Virtual time, the queue, the processes, and the faults that strike them until all is healed."""

    def __init__(self, seed: int, *, heal_at: float) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.heal_at = heal_at
        self.struck = Counter[str]()
        self.processes: list[Process] = []
        self.queue: list[Any] = []
        self.later: list[tuple[float, Callable[[], None]]] = []

    @property
    def is_healed(self) -> bool:
        return self.now >= self.heal_at

    def strikes(self, fault: str) -> bool:
        """Tell whether a fault happens here and now, and count it."""
        if self.is_healed or self.random.random() >= FAULTS[fault]:
            return False
        self.struck[fault] += 1
        return True

    def send(self, message: Any) -> None:
        """Queue a message that may get lost or doubled; the queue keeps no order."""
        if not self.strikes("message lost"):
            self.queue.append(message)
        if self.strikes("message doubled"):
            self.queue.append(message)

    def at(self, when: float, what: Callable[[], None]) -> None:
        self.later.append((when, what))

    def spawn(self, turns: Callable[[Process], Turns], versions: frozenset[str], on_death: Callable[[], None] = lambda: None) -> None:
        process = Process(world=self, versions=versions, on_death=on_death)
        process.turns = turns(process)
        self.processes.append(process)

    def awake(self) -> list[Process]:
        return [process for process in self.processes if process.asleep_until <= self.now]

    def turn(self, next_alarm: float | None) -> None:
        """Let time pass, then let one process do its next turn, or strike it; nobody awake: go on to what happens next."""
        self.now += self.random.random() * 0.1
        self._do_what_is_due()
        awake = self.awake()
        if awake:
            self._let(self.random.choice(awake))
        elif not self.queue:
            moments = [process.asleep_until for process in self.processes] + [when for when, _ in self.later]
            moments += [] if next_alarm is None else [next_alarm]
            self.now = max(self.now, min(moments, default=self.now))

    def _do_what_is_due(self) -> None:
        if not self.later:
            return
        due = [what for when, what in self.later if when <= self.now]
        self.later = [entry for entry in self.later if entry[0] > self.now]
        for what in due:
            what()

    def _let(self, process: Process) -> None:
        if self.strikes("crash"):
            self.processes.remove(process)
            process.on_death()
            return
        if self.strikes("pause"):
            process.asleep_until = self.now + self.random.choice((1, 6, 12, 12, 40))
            return
        if self.strikes("clock step"):
            process.skew_sec = self.random.uniform(-3, 3)
        try:
            process.asleep_until = self.now + next(process.turns)
        except StopIteration:
            self.processes.remove(process)
        except GaveUp:
            self.processes.remove(process)
            process.on_death()
