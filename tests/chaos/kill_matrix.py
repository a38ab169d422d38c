"""Kill the hub at every crash point, forward and backward, at the first, a middle and the last step.

    python -m tests.chaos.kill_matrix --database sqlite|postgres [--scope process|group] [--small]
        [--saga chaos_http] [--kinds all|timer,group,...] [--upkeep]

`--saga`: sagas of five steps, as functions, HTTP calls or a layer's tasks; all three if nothing is asked for. `--kinds`: a
saga for each kind of step (see `tests.chaos.kinds`), killed at every passage of every step. `--upkeep`: kills of what works
on many runs, the sweeper and the pruning. Every run is judged alone, and the whole history once more by the checker. Ends
with 0 when nothing is wrong.
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
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

# The hub's settings are read when something of Django is first imported: what the rig sets comes before that.
os.environ["DJANGO_SETTINGS_MODULE"] = "hub.settings"

from hub.testing.matrix import Matrix, Plan, plans, plans_at_start
from hub.testing.values import Case, Report, Scope, Violation
from tests.chaos import kinds, upkeep
from tests.chaos.stage import Stage, stage

END_SEC = 90.0
BATCH = 32
SMALL = ("accept.after_commit", "chain.before_send", "saga.", "claim.after", "call.after", "link.before_send", "layer.after_send")
SMALL_KINDS = {
    "signal": ("signal.before",),
    "child": ("accept.before_commit", "accept.after_commit"),
    "failing-member": ("call.after",),
    "late-reply": ("note.",),
    "locks": ("lock.", "slot.after_commit"),
}
"""Of the kinds, for the small run: points that other sagas do not pass."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the matrix and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hub-chaos-") as scratch:
        return run(asked, Path(asked.dir or scratch))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.kill_matrix")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--scope", action="append", choices=["process", "group"], help="who dies (default: both for chaos_functions)")
    parser.add_argument("--saga", action="append", help="chaos_functions, chaos_http, chaos_tasks (default: all)")
    parser.add_argument("--kinds", default="", help=f"all, or some of {', '.join(kinds.KINDS)}")
    parser.add_argument("--minutes", type=float, default=0, help="begin no further kill after so long; they come in a random order then")
    parser.add_argument("--seed", type=int, default=1, help="of that order")
    parser.add_argument("--upkeep", action="store_true", help="kill the sweeper and the pruning")
    parser.add_argument("--small", action="store_true", help="a subset that takes half a minute")
    parser.add_argument("--dir", default="", help="where logs and data stay")
    return parser


def run(asked: Any, directory: Path) -> int:
    """Set the stage, make every kill, and print what came of it."""
    began = time.monotonic()
    known = list(SMALL_KINDS if asked.small else kinds.KINDS)
    names = known if asked.kinds == "all" else [name for name in asked.kinds.split(",") if name]
    sagas = asked.saga or _default_sagas(asked)
    has_layer = "chaos_tasks" in sagas or bool(names)
    with stage(directory, database=asked.database, workers=2 if asked.small else 3, layer=has_layer) as scene:
        if "event" in names:
            scene.rig.add_relay()
        matrix = Matrix(scene.rig, end_sec=END_SEC, read_book=scene.ledger.of, nudge=kinds.nudges())
        wanted = [plan for saga in sagas for plan in _plans(matrix, scene, saga, _scopes(asked, saga))]
        wanted = [plan for plan in wanted if not asked.small or _is_small(plan)]
        wanted += kinds.wanted(matrix, scene, names, asked.scope or ["process"], points=SMALL_KINDS if asked.small else {})
        wanted.sort(key=lambda plan: plan.scope, reverse=True)  # a whole worker that dies disturbs the others' runs
        cases = (_with_groups_judged(scene, case) for case in _in_time(matrix, wanted, asked, began))
        report = Report(cases=tuple(_told(cases, len(wanted))))
        complaints = upkeep.kill(scene) if asked.upkeep else []
        judgement = _judge(scene)
    print(report)
    print(*complaints, sep="\n") if complaints else None
    print(f"checker: valid {judgement.valid} {dict(judgement.violations) or ''} {dict(judgement.figures)}")
    print(f"{asked.database}: {time.monotonic() - began:.0f} s")
    is_well = (report.ok or not wanted) and judgement.valid and not complaints
    return 0 if is_well else 1


def _in_time(matrix: Matrix, wanted: list[Plan], asked: Any, began: float) -> Iterator[Case]:
    """Make all kills, or as many as there is time for."""
    if not asked.minutes:
        yield from matrix.run(wanted)
        return
    random.Random(asked.seed).shuffle(wanted)
    for first in range(0, len(wanted), BATCH):
        if time.monotonic() - began > 60 * asked.minutes:
            print(f"time is over: {len(wanted) - first} of {len(wanted)} kills were not made")
            return
        yield from matrix.run(sorted(wanted[first : first + BATCH], key=lambda plan: plan.scope, reverse=True))


def _default_sagas(asked: Any) -> list[str]:
    if asked.kinds or asked.upkeep:
        return []
    return ["chaos_functions"] if asked.small else ["chaos_functions", "chaos_http", "chaos_tasks"]


def _scopes(asked: Any, saga: str) -> list[Scope]:
    """Return who dies; killing whole workers is slow, so by default only one kind of saga has to bear it."""
    whole: list[Scope] = ["process", "group"]
    return asked.scope or (whole if saga == "chaos_functions" and not asked.small else ["process"])


def _told(cases: Iterator[Case], total: int) -> Iterator[Case]:
    """Say on the way how far it is, and at once what is wrong."""
    for number, case in enumerate(cases, start=1):
        if case.violations or not case.fell or number % 25 == 0:
            print(f"{number}/{total} {case.passage} {case.execution_id} {list(case.violations)}", file=sys.stderr, flush=True)
        yield case


def _with_groups_judged(scene: Stage, case: Case) -> Case:
    """A group is undone after all its members have ended, and never before."""
    late = kinds.undone_too_early(scene.ledger.of(case.execution_id)) if case.saga_name == "chaos_group" else []
    found = [Violation(kind="out of order", text=f"{step} took effect after undoing had begun") for step in late]
    return replace(case, violations=[*case.violations, *found])


def _plans(matrix: Matrix, scene: Stage, saga: str, scopes: Sequence[Scope]) -> Iterator[Plan]:
    forward, backward = scene.context(), scene.context(e="refuse")
    if saga == "chaos_functions":
        yield from plans_at_start(saga, forward, scopes=scopes)
    yield from plans(saga, forward, matrix.passages(saga, forward), scopes=scopes, directions=["do"])
    yield from plans(saga, backward, matrix.passages(saga, backward), scopes=scopes, directions=["undo"])


def _is_small(plan: Plan) -> bool:
    return plan.at_start or (plan.passage.point.startswith(SMALL) and plan.passage.position != "first")


def _judge(scene: Stage) -> Any:
    from tests.chaos import histories
    from tests.sagas.checker import check

    return check(histories.collect(scene.ledger.read()))


if __name__ == "__main__":
    sys.exit(main())
