"""Random schedules of duplicate, empty and hanging calls against a layer on Django, from processes that run at once.

    python -m tests.sagas.barrier --schedules 1000 [--database sqlite|postgres]

Each schedule is a handful of actions and undos of one step of one saga, handed to processes of their own that run them in
whatever order they come to it; half of the schedules run one call after another. At the end each is undone once more.
Then nothing has happened, or it has happened once and was undone once. Ends with 0 when that holds for all.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

# The hub's settings are read when something of Django is first imported: what names the database comes before that.
os.environ["DJANGO_SETTINGS_MODULE"] = "hub.settings"

from hub.testing import databases

PROCESSES = 4
RIGHT = {(0, 0), (1, 1)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the schedules and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.sagas.barrier")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hub-barrier-") as scratch, databases.started(asked.database, Path(scratch)) as database:
        os.environ |= {"DATABASE_URL": database.url, "HUB_VAR_DIR": scratch, "HUB_NO_BOOTSTRAP": "1"}
        return run(asked)


def run(asked: Any) -> int:
    """Make the calls and count what came of them."""
    began, chance = time.monotonic(), random.Random(asked.seed)
    _migrate()
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=spawned, initializer=_set_up) as pool:
        answers: list[Future[str]] = []
        for number in range(asked.schedules):
            calls = chance.choices(["do", "undo"], k=chance.randint(2, 6))
            answers += _at_once(pool, f"s{number}", calls) if number % 2 else _in_a_row(pool, f"s{number}", calls)
        wait(answers)
        for number in range(asked.schedules):
            answers += _at_once(pool, f"s{number}", ["undo"])
        said = Counter(answer.result() for answer in answers)
    effects = Counter(_effects(f"s{number}") for number in range(asked.schedules))
    print(f"schedules {asked.schedules} · calls {sum(said.values())} in {PROCESSES} processes: {dict(sorted(said.items()))}")
    print(f"(done, undone): {dict(sorted(effects.items()))}")
    print(f"{asked.database}: {time.monotonic() - began:.0f} s")
    return 0 if set(effects) == RIGHT else 1


def _at_once(pool: ProcessPoolExecutor, execution_id: str, calls: Sequence[str]) -> list[Future[str]]:
    return [pool.submit(call, execution_id, direction) for direction in calls]


def _in_a_row(pool: ProcessPoolExecutor, execution_id: str, calls: Sequence[str]) -> list[Future[str]]:
    answers = []
    for direction in calls:
        answers += _at_once(pool, execution_id, [direction])
        wait(answers)
    return answers


def call(execution_id: str, direction: str) -> str:
    """Do what a layer's task would do: a business change behind the barrier. Return what the caller sees."""
    from hub.errors import Refused
    from sagas.participant import saga_participant

    def change(context: dict[str, Any], output: Any = None) -> dict[str, Any]:
        _write(execution_id, direction)
        return {"seat": 7}

    guarded = saga_participant(undo=direction == "undo")(change)
    try:
        guarded({"_saga": {"execution_id": execution_id, "step_id": "seat"}})
    except Refused:
        return "refused"
    return direction


def _write(execution_id: str, direction: str) -> None:
    """Write a row as the business would; those of a step with another name stand in for a table of its own."""
    from sagas.participant.models import SagaBarrier

    name = f"{direction}:{random.getrandbits(64):016x}"
    SagaBarrier.objects.create(execution_id=f"book of {execution_id}", step_id=name, direction="do", origin="do")


def _effects(execution_id: str) -> tuple[int, int]:
    from sagas.participant.models import SagaBarrier

    rows = SagaBarrier.objects.filter(execution_id=f"book of {execution_id}").values_list("step_id", flat=True)
    counts = Counter(step_id.partition(":")[0] for step_id in rows)
    return counts["do"], counts["undo"]


def _set_up() -> None:
    from hub.setup import ensure_django

    ensure_django()


def _migrate() -> None:
    _set_up()
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)


if __name__ == "__main__":
    sys.exit(main())
