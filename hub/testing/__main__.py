"""``python -m hub.testing package.module:saga --context '{"order": 7}'``: kill a saga at every crash point, print a table.

Ends with 0 when nothing is wrong, with 1 when something is, with 2 when there is no such saga, or when it does not come to
its end though nobody dies.
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

from hub.crashpoints import POINTS
from hub.testing import turned_back
from hub.testing.matrix import Matrix, Plan, UnfitError, plans, plans_at_start
from hub.testing.nudges import Nudges
from hub.testing.rig import Rig
from hub.testing.values import Report

END_SEC = 60


class _NoSagaError(Exception):
    """What the command line names cannot be loaded."""


def main(arguments: list[str] | None = None) -> int:
    """Run the matrix that the command line asks for and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hub-testing-") as scratch:
        try:
            report = run(asked, Path(asked.dir or scratch))
        except UnfitError as exc:
            print(f"{exc}. --context gives what steps read, --signal and --event what they wait for, --end-sec more time.")  # noqa: T201
            return 2
        except _NoSagaError as exc:
            print(exc)  # noqa: T201
            return 2
    if asked.report:
        Path(asked.report).write_text(json.dumps(report.to_dict()))
    print(report)  # noqa: T201
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hub.testing", description="Kill a saga at every crash point of the hub.")
    parser.add_argument("saga", help="package.module:name of a SagaDefinition")
    parser.add_argument("--context", type=_context, default={}, help="the context it starts with, as JSON")
    parser.add_argument("--database", default="", help="URL of a database that nobody else uses; SQLite if left out")
    parser.add_argument("--scope", action="append", choices=["process", "group"], help="who dies; may be given twice (default: process)")
    parser.add_argument("--point", action="append", type=_point, default=[], help="limit to crash points that begin so; may be given often")
    parser.add_argument("--signal", action="append", type=_name_and_json, default=[], help="NAME=JSON: given to runs that wait for it")
    parser.add_argument("--event", action="append", type=_name_and_json, default=[], help="TOPIC=JSON: published while a run waits for it")
    parser.add_argument("--end-sec", type=float, default=END_SEC, help=f"a run that takes longer is stuck (default: {END_SEC})")
    parser.add_argument("--dir", default="", help="where logs and data go; a directory that is deleted if left out")
    parser.add_argument("--report", default="", help="file for the report as JSON")
    return parser


def _context(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"a context is a JSON object, not {text!r}")
    return found


def _point(text: str) -> str:
    if not any(point.startswith(text) for point in POINTS):
        raise argparse.ArgumentTypeError(f"no crash point begins with {text!r} (there are: {', '.join(POINTS)})")
    return text


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
    rig = Rig(
        directory,
        database_url=asked.database,
        saga_modules=[module],
        env={"HUB_TESTING_SAGA": asked.saga},
        before_workers=lambda _: _check_loads(asked.saga),
    )
    with rig:
        if asked.event:
            rig.add_relay()
        matrix = Matrix(rig, end_sec=asked.end_sec, nudge=Nudges(signals=dict(asked.signal), events=dict(asked.event)))
        wanted = [plan for plan in _all_plans(matrix, asked) if not asked.point or plan.passage.point.startswith(tuple(asked.point))]
        return Report(cases=tuple(matrix.run(wanted)))


def _check_loads(reference: str) -> None:
    # Here Django is set up, which a saga's module may need, and no worker has died of it yet.
    try:
        turned_back.load(reference)
    except Exception as exc:
        # The module is the user's own, so anything may be wrong with it.
        raise _NoSagaError(f"{reference} cannot be loaded as package.module:name: {type(exc).__name__}: {exc}") from exc


def _all_plans(matrix: Matrix, asked: Any) -> list[Plan]:
    name, scopes = turned_back.load(asked.saga).saga_name, asked.scope or ["process"]
    forward = matrix.passages(name, asked.context, check=_check_completed)
    back_name = f"{name}{turned_back.SUFFIX}"
    back = matrix.passages(back_name, asked.context, check=_check_turned_back_at_the_end)
    return [
        *plans_at_start(name, asked.context, scopes=scopes),
        *plans(name, asked.context, forward, scopes=scopes, directions=["do"]),
        *plans(back_name, asked.context, back, scopes=scopes, directions=["undo"]),
    ]


def _check_completed(loaded: Any) -> None:
    if loaded.row.status != "completed":
        raise UnfitError(_wrong_end(loaded))


def _check_turned_back_at_the_end(loaded: Any) -> None:
    if (loaded.row.error or {}).get("step_id") != turned_back.REFUSAL:
        raise UnfitError(_wrong_end(loaded))


def _wrong_end(loaded: Any) -> str:
    error = {"step_id": "no step", "code": "", "message": "no error", **(loaded.row.error or {})}
    failed = f"{error['step_id']} ended it with {error['code']} {error['message']}"
    return f"{loaded.row.saga_name} ends {loaded.row.status} though nobody dies: {failed}"


if __name__ == "__main__":
    sys.exit(main())
