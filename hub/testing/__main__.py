"""``python -m hub.testing package.module:saga --context '{"order": 7}'``: kill a saga at every crash point, print a table.

Ends with 0 when nothing is wrong, with 1 when something is, with 2 when the saga waits in vain though nobody dies.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from hub.testing import turned_back
from hub.testing.matrix import Matrix, Plan, UnfitError, plans, plans_at_start
from hub.testing.nudges import Nudges
from hub.testing.rig import Rig
from hub.testing.values import Report

END_SEC = 60


def main(arguments: list[str] | None = None) -> int:
    """Run the matrix that the command line asks for and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hub-testing-") as scratch:
        try:
            report = run(asked, Path(asked.dir or scratch))
        except UnfitError as exc:
            print(f"{exc}. --signal NAME=JSON and --event TOPIC=JSON give what steps wait for, --end-sec more time.")  # noqa: T201
            return 2
    if asked.report:
        Path(asked.report).write_text(json.dumps(report.to_dict()))
    print(report)  # noqa: T201
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hub.testing", description="Kill a saga at every crash point of the hub.")
    parser.add_argument("saga", help="package.module:name of a SagaDefinition")
    parser.add_argument("--context", type=json.loads, default={}, help="the context it starts with, as JSON")
    parser.add_argument("--database", default="", help="URL of an empty database; SQLite if left out")
    parser.add_argument("--scope", action="append", choices=["process", "group"], help="who dies; may be given twice (default: process)")
    parser.add_argument("--point", action="append", default=[], help="limit to crash points that begin so; may be given often")
    parser.add_argument("--signal", action="append", type=_name_and_json, default=[], help="NAME=JSON: given to runs that wait for it")
    parser.add_argument("--event", action="append", type=_name_and_json, default=[], help="TOPIC=JSON: published while a run waits for it")
    parser.add_argument("--end-sec", type=float, default=END_SEC, help=f"a run that takes longer is stuck (default: {END_SEC})")
    parser.add_argument("--dir", default="", help="where logs and data go; a directory that is deleted if left out")
    parser.add_argument("--report", default="", help="file for the report as JSON")
    return parser


def _name_and_json(text: str) -> tuple[str, Any]:
    name, _, payload = text.partition("=")
    try:
        found = json.loads(payload or "{}")
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"what follows {name}= is no JSON: {payload!r}: {exc}") from None
    if not name:
        raise argparse.ArgumentTypeError(f"no name before =: {text!r}")
    return name, found


def run(asked: Any, directory: Path) -> Report:
    """Set the rig up, find out what the saga passes, and kill it there."""
    os.environ["HUB_TESTING_SAGA"] = asked.saga
    os.environ["HUB_TESTING_DIR"] = str(directory)
    module = asked.saga.partition(":")[0]
    with Rig(directory, database_url=asked.database, saga_modules=[module], env={"HUB_TESTING_SAGA": asked.saga}) as rig:
        if asked.event:
            rig.add_relay()
        matrix = Matrix(rig, end_sec=asked.end_sec, nudge=Nudges(signals=dict(asked.signal), events=dict(asked.event)))
        wanted = [plan for plan in _all_plans(matrix, asked) if not asked.point or plan.passage.point.startswith(tuple(asked.point))]
        return Report(cases=tuple(matrix.run(wanted)))


def _all_plans(matrix: Matrix, asked: Any) -> list[Plan]:
    name, scopes = turned_back.load(asked.saga).saga_name, asked.scope or ["process"]
    forward = matrix.passages(name, asked.context)
    back_name = f"{name}{turned_back.SUFFIX}"
    back = matrix.passages(back_name, asked.context)
    return [
        *plans_at_start(name, asked.context, scopes=scopes),
        *plans(name, asked.context, forward, scopes=scopes, directions=["do"]),
        *plans(back_name, asked.context, back, scopes=scopes, directions=["undo"]),
    ]


if __name__ == "__main__":
    sys.exit(main())
