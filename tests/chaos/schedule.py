"""Let faults fall on a running scene, one after another and some at the same time, and keep a log of them."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

TRIES = 4
ALONE = {
    "redis cut": "redis",
    "BRPOP answer lost": "redis",
    "LPUSH answer lost": "redis",
    "redis restarted empty": "redis",
    "database gone": "database",
}
"""Faults that use one thing and must not fall at the same time as others on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One fault that bit, in seconds since 1970, with what shows that it did."""

    kind: str
    began: float
    ended: float
    proof: str


class Schedule:
    """`count` faults of these kinds in a random order, as even as it goes; every fourth period is quiet.

    With `is_over_it`, a question about the faults so far, no fault falls before the answer is yes.
    """

    def __init__(
        self,
        kinds: Mapping[str, Callable[[], str]],
        *,
        count: int,
        every_sec: float,
        log: Path,
        chance: random.Random,
        is_over_it: Callable[[Sequence[Fault]], bool] | None = None,
    ) -> None:
        self._kinds, self._every_sec, self._log, self._chance = kinds, every_sec, log, chance
        self._is_spaced, self._is_over_it = is_over_it is not None, is_over_it or (lambda faults: True)
        self._left = self._shuffled(count)
        self._wanted = count
        self._tries = Counter[str]()
        self._locks = {name: threading.Lock() for name in set(ALONE.values())}
        self._running: list[threading.Thread] = []
        self._next_at, self._period = time.monotonic() + every_sec, 0
        self.faults: list[Fault] = []
        self.errors: list[str] = []

    def _shuffled(self, count: int) -> list[str]:
        rounds = [self._chance.sample(list(self._kinds), len(self._kinds)) for _ in range(count // len(self._kinds) + 1)]
        return [kind for one in rounds for kind in one][:count]

    def tick(self) -> None:
        """Start the next fault if its time has come."""
        if time.monotonic() < self._next_at or not self._left or self.is_held():
            return
        self._period += 1
        self._next_at = time.monotonic() + self._every_sec * (2 if self._period % 4 == 0 else 1)
        thread = threading.Thread(target=self._fall, args=(self._left.pop(0),), daemon=True)
        self._running.append(thread)
        thread.start()

    def is_held(self) -> bool:
        """Tell whether the next fault has to wait: in a spaced run until the one before it has been got over."""
        return self._is_spaced and (any(thread.is_alive() for thread in self._running) or not self._is_over_it(self.faults))

    def span_sec(self) -> float:
        """Return about how long the faults will take to fall."""
        return self._wanted * self._every_sec * 1.25

    def is_over(self) -> bool:
        """Tell whether all faults have fallen and are put right."""
        return not self._left and not any(thread.is_alive() for thread in self._running)

    def _fall(self, kind: str) -> None:
        with ExitStack() as held:
            if kind in ALONE:
                held.enter_context(self._locks[ALONE[kind]])
            began = time.time()
            try:
                proof = self._kinds[kind]()
            except Exception as exc:  # A fault that breaks down must be seen in the report, not lost with its thread.
                self.errors.append(f"{kind}: {type(exc).__name__}: {exc}")
                return
        if proof:
            self._note(Fault(kind=kind, began=began, ended=time.time(), proof=proof))
        elif self._tries[kind] < TRIES:
            self._tries[kind] += 1
            self._left.append(kind)

    def _note(self, fault: Fault) -> None:
        self.faults.append(fault)
        with self._log.open("a") as log:
            log.write(json.dumps(asdict(fault)) + "\n")
