"""A seeded simulation of the real machine: one seed is one history, judged by `tests.sagas.checker`.

    python -m tests.sagas.simulation --seeds 5000

runs it with all protections on, which must give no invalid history, and with each switched off, which must give some: a
check that cannot fail proves nothing.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sagas import events
from sagas.states import ACTIVE, SagaStatus
from tests.sagas.checker import check
from tests.sagas.history import Direction, History, Judgement, Saga, Submission
from tests.sagas.simulated import caller, samples
from tests.sagas.simulated.messages import Message
from tests.sagas.simulated.protections import Protections
from tests.sagas.simulated.rows import Row, Rows
from tests.sagas.simulated.shell import Shell
from tests.sagas.simulated.target import Target
from tests.sagas.simulated.world import Process, Turns, World

SAGAS = 3
WORKERS = 3
SWEEP_SEC = 1.5
PEOPLE_SEC = 6.0
MAX_TURNS = 30_000
BOTH_VERSIONS = frozenset({"1", "2"})

MUST_BE_VALID: Mapping[str, Protections] = {
    "all protections on": Protections(),
    "no error callback ever arrives": Protections(callbacks=False),
    "no link sends the next": Protections(links=False),
}
MUST_BE_INVALID: Mapping[str, Protections] = {
    "a new key for each attempt": Protections(stable_key=False),
    "the target ignores the key": Protections(key_honoured=False),
    "no tombstone at the target": Protections(tombstone=False),
    "no sweeper": Protections(sweeper=False),
    "what is uncertain is not undone": Protections(doubt=False),
    "no intent before the call": Protections(intent=False),
    "no epoch on what an attempt reports": Protections(fence=False),
    "no revision on a save": Protections(revision=False),
    "undone forwards": Protections(reverse=False),
    "a worker runs a version it does not hold": Protections(pinned=False),
}


def simulate(seed: int, protections: Protections | None = None) -> History:
    """Run one history to its rest: faults strike until the world is healed, then everything must come to its end."""
    return _Simulation(seed, protections or Protections()).run()


class _Simulation:
    def __init__(self, seed: int, protections: Protections) -> None:
        self.on = protections
        self.world = World(seed, heal_at=random.Random(seed).choice((10.0, 40.0, 90.0)))
        self.random = self.world.random
        self.rows = Rows(protections)
        self.target = Target(protections, set(self._stubborn()))
        self.shell = Shell(self.world, self.target, self.rows, protections)
        self.sweep_at, self.people_at = 0.0, self.random.uniform(0, PEOPLE_SEC)
        for number in range(SAGAS):
            self._start(f"g{number}")

    def _stubborn(self) -> Iterator[tuple[str, str, Direction]]:
        """Choose what is refused always: often an action, sometimes an undo."""
        for number in range(SAGAS):
            if self.random.random() < 0.45:
                yield f"g{number}", f"s{self.random.randrange(4)}", "do"
            if self.random.random() < 0.1:
                yield f"g{number}", f"s{self.random.randrange(4)}", "undo"

    def _start(self, saga: str) -> None:
        is_local = self.random.random() < 0.15
        spec = samples.spec(self.random, is_local=is_local)
        loaded = self.rows.create(saga, spec, owner_until=caller.OWNER_SEC if is_local else None)
        if is_local:
            self.world.spawn(lambda me: caller.drive(self.shell, me, saga), BOTH_VERSIONS)
        else:
            self.shell.send_rest(loaded, 0)

    def run(self) -> History:
        for _ in range(MAX_TURNS):
            if self._is_at_rest():
                return self._history(is_quiet=True)
            self._pick_up()
            self._sweep()
            self._ask()
            self.world.turn(self._next_alarm())
        return self._history(is_quiet=False)

    def _is_at_rest(self) -> bool:
        world = self.world
        if world.processes or world.queue or world.later:
            return False
        return not self.on.sweeper or all(row.is_final for row in self.rows.all.values())

    def _pick_up(self) -> None:
        """Let idle workers take messages, in any order; a worker of an old release holds only the old version."""
        world = self.world
        while world.queue and len(world.awake()) < WORKERS:
            message = world.queue.pop(self.random.randrange(len(world.queue)))
            is_old = not world.is_healed and self.random.random() < 0.1
            self._deliver(message, frozenset({"1"}) if is_old else BOTH_VERSIONS)

    def _deliver(self, message: Message, versions: frozenset[str]) -> None:
        def work(me: Process) -> Turns:
            return self.shell.handle(me, message)

        self.world.spawn(work, versions, lambda: self.shell.report_death(message))

    def _sweep(self) -> None:
        if self.on.sweeper and self.world.now >= self.sweep_at:
            self.sweep_at = self.world.now + SWEEP_SEC
            if self.rows.due(self.world.now):
                self.world.spawn(self.shell.sweep, BOTH_VERSIONS)

    def _ask(self) -> None:
        """Let people cancel what runs, and send on what waits for them, until the world is healed."""
        if self.world.is_healed or self.world.now < self.people_at:
            return
        self.people_at = self.world.now + self.random.uniform(0, 2 * PEOPLE_SEC)
        row = self.random.choice(list(self.rows.all.values()))
        if event := self._wish(row):
            self._let_ask(row.id, event)

    def _let_ask(self, saga: str, event: events.Event) -> None:
        self.world.spawn(lambda me: self.shell.ask(saga, event), BOTH_VERSIONS)

    def _wish(self, row: Row) -> events.Event | None:
        now, wish = self.world.now, self.random.random()
        if row.is_final:
            return None if samples.is_local(row.spec) else self._operators_wish(row, now, wish)
        if wish < 0.3:
            return events.Cancel(now=now, reason="changed my mind")
        return events.Signal(name="signal:go", now=now) if wish < 0.6 else None

    def _operators_wish(self, row: Row, now: float, wish: float) -> events.Event:
        deadline_at = now + row.spec.timeout_sec
        if wish < 0.45:
            return events.Retry(now=now, reason="try again", deadline_at=deadline_at)
        if wish < 0.8:
            return events.Compensate(now=now, reason="give up")
        if wish < 0.95:
            index = self.random.randrange(len(row.spec.steps))
            return events.Skip(step=index, now=now, reason="done by hand", deadline_at=deadline_at)
        return events.Resolve(now=now, reason="put right", outcome=SagaStatus.COMPENSATED)

    def _next_alarm(self) -> float | None:
        wake = self.rows.next_wake() if self.on.sweeper else None
        return None if wake is None else max(self.sweep_at, wake)

    def _history(self, *, is_quiet: bool) -> History:
        rows = self.rows.all.values()
        return History(
            definitions={row.id: samples.definition(row.spec) for row in rows},
            submissions=[Submission(key=row.id, outcome="ok") for row in rows],
            ledger=self.target.ledger,
            sagas=[Saga(id=row.id, key=row.id, definition=row.id, status=row.run.status) for row in rows],
            steps={(row.id, s.step_id): state.status for row in rows for s, state in zip(row.spec.steps, row.run.steps, strict=True)},
            moves=[move for row in rows for move in row.moves],
            faults=self.world.struck,
            is_quiet=is_quiet,
        )


# --- many seeds -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What many histories came to; `invalid` holds the seeds, `kinds` counts histories by kind of violation."""

    seeds: int = 0
    invalid: list[int] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, seed: int, history: History, judgement: Judgement) -> None:
        self.seeds += 1
        if judgement.valid is not True:
            self.invalid.append(seed)
        self.kinds.update(kind.name for kind in judgement.violations)
        self.figures.update(judgement.figures)
        self.faults.update(history.faults)


def tally(seeds: range, protections: Protections) -> Tally:
    """Run and judge one history for each seed."""
    found = Tally()
    for seed in seeds:
        history = simulate(seed, protections)
        found.add(seed, history, check(history))
    return found


def _report(label: str, found: Tally, took_sec: float) -> str:
    ends = ", ".join(f"{found.figures[f'sagas {status.value}']} {status.value}" for status in SagaStatus if status not in ACTIVE)
    kinds = ", ".join(f"{kind} {count}" for kind, count in found.kinds.most_common()) or "-"
    return (
        f"{label}: {len(found.invalid)} of {found.seeds} invalid, {found.figures['sagas']} sagas ({ends}),"
        f" {found.figures['faults']} faults, {took_sec:.0f} s\n    {kinds}; first seeds {found.invalid[:3]}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="simulate sagas under faults, with and without what protects them")
    parser.add_argument("--seeds", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", default="", help="only rows whose label contains this")
    arguments = parser.parse_args()
    seeds, wrong = range(arguments.first, arguments.first + arguments.seeds), 0
    for label, protections in {**MUST_BE_VALID, **MUST_BE_INVALID}.items():
        if arguments.only in label:
            began = time.monotonic()
            found = tally(seeds, protections)
            wrong += bool(found.invalid) is (label in MUST_BE_VALID)
            print(_report(label, found, time.monotonic() - began), flush=True)  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
