"""Kill the hub at every crash point, forward and backward, at the first, a middle and the last step.

    python -m tests.chaos.kill_matrix --database sqlite|postgres [--scope process|group] [--small]

Every run is judged alone, and the whole history once more by the checker. Ends with 0 when nothing is wrong.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# The hub's settings are read when something of Django is first imported: what the rig sets comes before that.
os.environ["DJANGO_SETTINGS_MODULE"] = "hub.settings"

from hub.testing.matrix import Matrix, Plan, plans, plans_at_start
from hub.testing.values import Case, Report, Scope
from tests.chaos.stage import Stage, stage

END_SEC = 90.0
SMALL = ("accept.after_commit", "chain.before_send", "saga.", "claim.after", "call.after", "link.before_send", "layer.after_send")


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
    parser.add_argument("--small", action="store_true", help="a subset that takes half a minute")
    parser.add_argument("--dir", default="", help="where logs and data stay")
    return parser


def run(asked: Any, directory: Path) -> int:
    """Set the stage, make every kill, and print what came of it."""
    began = time.monotonic()
    sagas = asked.saga or (["chaos_functions"] if asked.small else ["chaos_functions", "chaos_http", "chaos_tasks"])
    with stage(directory, database=asked.database, workers=2 if asked.small else 3, layer="chaos_tasks" in sagas) as scene:
        matrix = Matrix(scene.rig, end_sec=END_SEC, read_book=scene.ledger.of)
        wanted = [
            plan for saga in sagas for plan in _plans(matrix, scene, saga, _scopes(asked, saga)) if not asked.small or _is_small(plan)
        ]
        wanted.sort(key=lambda plan: plan.scope, reverse=True)  # a whole worker that dies disturbs the others' runs
        report = Report(cases=tuple(_told(matrix.run(wanted), len(wanted))))
        judgement = _judge(scene)
    print(report)
    print(f"checker: valid {judgement.valid} {dict(judgement.violations) or ''} {dict(judgement.figures)}")
    print(f"{asked.database}: {time.monotonic() - began:.0f} s")
    return 0 if report.ok and judgement.valid else 1


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
