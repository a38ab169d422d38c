"""Many sagas while everything breaks: processes, Redis, the database, messages.

    python -m tests.chaos.mixed --sagas 300 --faults 70 --database sqlite|postgres [--seed N] [--small]
    python -m tests.chaos.mixed --spaced --faults 14

With `--spaced` each fault has the stage to itself: the next one falls when every run has gone on after it, and a saga starts
every `--pace` seconds meanwhile. So what recovery takes is seen fault by fault. Prints every fault with its proof, what the
checker says, and how long runs stood still. Ends with 0 when nothing is wrong.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# The hub's settings are read when something of Django is first imported: what the rig sets comes before that.
os.environ["DJANGO_SETTINGS_MODULE"] = "hub.settings"

from hub.embedded import free_port
from hub.testing.rig import SHORT_WAITS
from tests.chaos import recovery
from tests.chaos.callers import Callers
from tests.chaos.faultproxy import Remote
from tests.chaos.nemesis import Nemesis
from tests.chaos.schedule import Schedule
from tests.chaos.stage import Stage, stage

SAGAS = ("chaos_functions", "chaos_functions", "chaos_http", "chaos_tasks", "chaos_mixed")
PLANS: tuple[dict[str, str], ...] = (
    {},
    {},
    {"c": "slow"},
    {"b": "slow", "d": "slow"},
    {"b": "busy once"},
    {"c": "lost once"},
    {"b": "hang once"},
    {"e": "refuse"},
    {"d": "refuse", "b": "slow"},
    {"e": "refuse", "c_undo": "lost once"},
    {"d": "refuse", "b_undo": "busy once", "c": "slow"},
)
SETTLE_SEC = 75.0
"""Runs of which none moved for so long, three times the bound for recovery, count as stuck."""
LONGEST_SETTLE_SEC = 240.0
"""On a busy machine the work that the faults have piled up takes its time; so long at most."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenario and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hub-chaos-") as scratch:
        return run(asked, Path(asked.dir or scratch))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mixed")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--sagas", type=int, default=300)
    parser.add_argument("--faults", type=int, default=70)
    parser.add_argument("--every-sec", type=float, default=2.2, help="seconds between faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="kinds of faults, comma-separated")
    parser.add_argument("--spaced", action="store_true", help="no fault before the one before it has been got over")
    parser.add_argument("--pace", type=float, default=1.5, help="seconds between the starts of a spaced run")
    parser.add_argument("--small", action="store_true", help="short waits and a sweeper of its own instead of beat")
    parser.add_argument("--aof", action="store_true", help="Redis writes an append-only file, and so keeps its data")
    parser.add_argument("--dir", default="", help="where logs and data stay")
    return parser


def run(asked: Any, directory: Path) -> int:
    """Set the stage, let sagas and faults go, wait for rest, and judge."""
    control_port = free_port()
    with stage(
        directory,
        database=asked.database,
        workers=2 if asked.small else 3,
        control_port=control_port,
        append_only=asked.aof,
        sweeper=asked.small,
        waits=SHORT_WAITS if asked.small else {},  # else the hub's own defaults are on trial
    ) as scene:
        if not asked.small:
            scene.rig.add("beat", [sys.executable, "-m", "celery", "-A", "hub", "beat", "--pidfile="])
        callers, chance = Callers(scene.rig.redis_url), random.Random(asked.seed)
        nemesis = Nemesis(
            stage=scene,
            proxy=Remote(control_port),
            random=chance,
            frozen_sec=5 if asked.small else 10,
            start_typo=lambda: f"saga {callers.want('chaos_typo', scene.context())} names chaos.no_such_task",
        )
        kinds = {name: fall for name, fall in nemesis.kinds().items() if not asked.only or name in asked.only.split(",")}
        over = recovery.is_over_it if asked.spaced else None
        log = directory / "faults.jsonl"
        schedule = Schedule(kinds, count=asked.faults, every_sec=asked.every_sec, log=log, chance=chance, is_over_it=over)
        healed_at = _play(scene, callers, schedule, asked, chance)
        return _report(scene, callers, schedule, settled_sec=time.monotonic() - healed_at)


def _play(scene: Stage, callers: Callers, schedule: Schedule, asked: Any, chance: random.Random) -> float:
    """Start sagas evenly over the time of the faults; return when the last fault was put right, after all has come to rest."""
    began, wanted, healed_at = time.monotonic(), 0, 0.0
    gap_sec = asked.pace if asked.spaced else schedule.span_sec() / asked.sagas
    rest = Rest(callers)

    def are_enough() -> bool:
        return healed_at > 0 if asked.spaced else wanted >= asked.sagas

    while not (healed_at and are_enough() and rest.has_come(healed_at)):
        if not are_enough() and time.monotonic() - began >= gap_sec * wanted:
            callers.want(chance.choice(SAGAS), scene.context(**chance.choice(PLANS)))
            wanted += 1
        callers.tick()
        schedule.tick()
        if not healed_at and schedule.is_over():
            healed_at = time.monotonic()
        time.sleep(0.05)
    return healed_at


class Rest:
    """Watches for the moment at which nothing is left to happen, or nothing happens although something is left."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._moves, self._moved_at, self._looked_at = -1, time.monotonic(), 0.0

    def has_come(self, healed_at: float) -> bool:
        """Look twice a second at most."""
        now = time.monotonic()
        if now - self._looked_at < 0.5:
            return False
        self._looked_at = now
        moves, active = _count()
        if moves != self._moves:
            self._moves, self._moved_at = moves, now
        is_stuck = now - max(self._moved_at, healed_at) > SETTLE_SEC or now - healed_at > LONGEST_SETTLE_SEC
        return is_stuck or (active == 0 and not self._callers.unanswered())


def _count() -> tuple[int, int]:
    """Return how many moves there were in all, and how many runs are under way; -1 each while the database is away."""
    from django.db import InterfaceError, OperationalError, connection

    from sagas.models import SagaExecution, SagaTransition
    from sagas.states import ACTIVE

    try:
        return SagaTransition.objects.count(), SagaExecution.objects.filter(status__in=[status.value for status in ACTIVE]).count()
    except (OperationalError, InterfaceError):
        connection.close()  # it was open when the database was gone
        return -1, -1


def _report(scene: Stage, callers: Callers, schedule: Schedule, *, settled_sec: float) -> int:
    from tests.chaos import histories
    from tests.sagas.checker import check
    from tests.sagas.history import Need

    _count()  # drops a connection from before the database was gone
    counts = Counter(fault.kind for fault in schedule.faults)
    need = Need(faults=len(schedule.faults), sagas=len(callers.starts))
    history = histories.collect(scene.ledger.read(), submissions=list(callers.submissions()), faults=counts, need=need)
    judgement, waits = check(history), recovery.by_fault(schedule.faults)
    for fault, stood in waits:
        longest = f"{stood[-1]:5.1f} s" if stood else "    -  "
        print(f"{fault.kind:22} {fault.ended - fault.began:5.1f} s, {len(stood):3} runs under way, all on after {longest}  {fault.proof}")
    for line in _left(scene, callers):
        print(line)
    for error in schedule.errors:
        print(f"FAULT BROKE DOWN {error}")
    print(f"faults {sum(counts.values())}: {dict(sorted(counts.items()))}")
    print(f"sagas {len(history.sagas)} of {len(callers.starts)} wanted: {dict(judgement.figures)}")
    print(f"checker: valid {judgement.valid} {judgement.doubts or ''}")
    for kind, texts in judgement.violations.items():
        print(f"  {kind}: {len(texts)}: {texts[:5]}")
    figures = {name: sum(len(texts) for kind, texts in judgement.violations.items() if kind.name in kinds) for name, kinds in SHORT.items()}
    print(" · ".join(f"{name} {count}" for name, count in figures.items()))
    _print_recovery("from a fault until a run under way moved", [seconds for _, stood in waits for seconds in stood])
    _print_recovery("from a fault until every run under way had moved", [stood[-1] for _, stood in waits if stood])
    print(f"all at rest {settled_sec:.1f} s after the last fault was put right")
    return 0 if judgement.valid and not schedule.errors else 1


def _print_recovery(what: str, seconds: Sequence[float]) -> None:
    times = sorted(seconds)
    if times:
        p50, p95 = times[len(times) // 2], times[len(times) * 95 // 100]
        print(f"{what}: {len(times)} times, p50 {p50:.1f} s, p95 {p95:.1f} s, max {times[-1]:.1f} s")


def _left(scene: Stage, callers: Callers) -> Iterator[str]:
    """Say what has not come to its end, and what lies in the queues."""
    from redis import Redis

    from sagas.models import SagaExecution
    from sagas.states import ACTIVE

    active = SagaExecution.objects.filter(status__in=[status.value for status in ACTIVE])
    names = ("status", "hints", "revision", "blocked_reason", "next_wake_at", "cause")
    for row in active.order_by("created_at").values("id", "saga_name", *names)[:10]:
        yield f"NOT AT ITS END {row}"
    client = Redis.from_url(scene.rig.redis_url)
    yield f"queues: { ({name: client.llen(name) for name in ('hub', 'hub.sagas', 'hub.control', 'chaos-layer')}) }"
    if callers.unanswered():
        yield f"{len(callers.unanswered())} starts were never answered"


_LIES = "COMPLETED_WITHOUT_EFFECT COMPLETED_BUT_UNDONE NOT_UNDONE HIDDEN_EFFECT CLAIMED_DONE CLAIMED_UNDONE ILLEGAL_MOVE"
_DISORDER = "OUT_OF_ORDER UNDONE_IN_WRONG_ORDER ORPHAN ACTION_AFTER_UNDOING_BEGAN STARTED_AFTER_TURNING_BACK UNDONE_UNTRIED"
SHORT = {
    "stuck": {"NOT_FINAL", "LOST", "STILL_OWED"},
    "lied": set(_LIES.split()),
    "doubled": {"TWICE_UNDER_ONE_KEY", "TWICE_UNDER_TWO_KEYS", "DOUBLED"},
    "out of order": set(_DISORDER.split()),
}
"""The checker's violations under the four words of the promise."""


if __name__ == "__main__":
    sys.exit(main())
