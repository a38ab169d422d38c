"""The reply was lost: a payment that happened or not, by chance, at a service that honours no key; `verify` asks it.

    python -m tests.chaos.lost_replies --sagas 1000 [--database sqlite|postgres]

Every try at the payment loses its answer, half of them after the money moved. At the end the money at the service must be
what the sagas say: paid once where a saga completed, nothing where it was undone. Ends with 0 when it adds up.
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# The hub's settings are read when something of Django is first imported: what the rig sets comes before that.
os.environ["DJANGO_SETTINGS_MODULE"] = "hub.settings"

from tests.chaos import many
from tests.chaos.stage import Stage, stage

EXPECTED = {"completed": 1, "compensated": 0}
TIMEOUT_SEC = 540.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenario and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.lost_replies")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--sagas", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", default="", help="where logs and data stay")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hub-chaos-") as scratch:
        return run(asked, Path(asked.dir or scratch))


def run(asked: Any, directory: Path) -> int:
    """Let the sagas pay, and compare what they say with the service's own book."""
    chance, began = random.Random(asked.seed), time.monotonic()
    with stage(directory, database=asked.database, layer=False, manners="ignores") as scene:
        contexts = [scene.context(pay="toss", **({"ship": "refuse"} if chance.random() < 0.3 else {})) for _ in range(asked.sagas)]
        ends = many.run_all("chaos_money", contexts, timeout_sec=TIMEOUT_SEC)
        complaints = [*_complaints(scene, ends), *_judged(scene)]
        money = sum(_balance(scene, execution_id) for execution_id in ends)
        tries = sum(line["event"] == "received" and line["step"] == "pay" and line["direction"] == "do" for line in scene.ledger.read())
    counts = Counter(ends.values())
    print(*complaints, sep="\n")
    print(f"sagas {len(ends)} of {asked.sagas}: {dict(sorted(counts.items()))} · tries that lost their answer {tries}")
    print(f"money at the service {money}, by the sagas' word {counts['completed']} · wrong {len(complaints)}")
    print(f"{asked.database}: {time.monotonic() - began:.0f} s")
    return 0 if not complaints and len(ends) == asked.sagas and money == counts["completed"] else 1


def _balance(scene: Stage, execution_id: str) -> int:
    """Return how often the payment stands at the service: each effect counts, each undo takes one back."""
    lines = [line for line in scene.ledger.of(execution_id) if line["ev"] == "apply" and line["step"] == "pay"]
    return sum(1 if line["kind"] == "action" else -1 for line in lines)


def _complaints(scene: Stage, ends: Mapping[str, str]) -> list[str]:
    found = []
    for execution_id, status in ends.items():
        balance = _balance(scene, execution_id)
        if balance != EXPECTED.get(status):
            found.append(f"{execution_id} is {status}, and was paid {balance} times")
    return found


def _judged(scene: Stage) -> list[str]:
    from tests.chaos import histories
    from tests.sagas.checker import check

    judgement = check(histories.collect(scene.ledger.read()))
    return [f"{kind}: {text}" for kind, texts in judgement.violations.items() for text in texts]


if __name__ == "__main__":
    sys.exit(main())
