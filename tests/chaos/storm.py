"""A mass failure: sagas that all turn back against one service, which must never see more than n undos at once.

    python -m tests.chaos.storm --sagas 500 --most 4 [--database sqlite|postgres]

The service itself counts the undos that it works on at a time. Ends with 0 when that never exceeded n, all slots
were taken at some time, and every saga was undone.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

# The hub's settings are read when something of Django is first imported: what the rig sets comes before that.
os.environ["DJANGO_SETTINGS_MODULE"] = "hub.settings"

from tests.chaos import many
from tests.chaos.stage import stage

TIMEOUT_SEC = 540.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenario and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.storm")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--sagas", type=int, default=500)
    parser.add_argument("--most", type=int, default=4, help="undos at once against one service")
    parser.add_argument("--dir", default="", help="where logs and data stay")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hub-chaos-") as scratch:
        return run(asked, Path(asked.dir or scratch))


def run(asked: Any, directory: Path) -> int:
    """Let the sagas fail together, on more processes than undos are allowed, and ask the service what it saw."""
    began, slots = time.monotonic(), [0]
    limit = {"HUB_SAGA_MAX_UNDOS_PER_TARGET": str(asked.most)}
    options = {"workers": 2, "concurrency": asked.most, "env": limit}
    with stage(directory, database=asked.database, layer=False, **options) as scene:
        context = scene.context(b="refuse", a_undo="brief")
        # All at once: none waits for the others to be undone before it begins to fail.
        ends = many.run_all("chaos_storm", [context] * asked.sagas, timeout_sec=TIMEOUT_SEC, at_once=asked.sagas, look=lambda: _look(slots))
        seen = int(requests.get(f"{scene.target_url}/most_undos", timeout=5).text)
        undone = sum(line["event"] == "applied" and line["direction"] == "undo" for line in scene.ledger.read())
    counts = Counter(ends.values())
    print(f"sagas {len(ends)}: {dict(sorted(counts.items()))} · undos {undone}")
    print(f"undos at once: allowed {asked.most}, seen by the service {seen}, slots taken at most {max(slots)}")
    print(f"{asked.database}: {time.monotonic() - began:.0f} s")
    reached = asked.most in (seen, max(slots))  # else nothing held anybody back, and nothing was shown
    return (
        0
        if reached and seen <= asked.most and max(slots) <= asked.most and counts == {"compensated": asked.sagas} and undone == asked.sagas
        else 1
    )


def _look(slots: list[int]) -> None:
    from sagas.models import UndoSlot

    slots.append(UndoSlot.objects.count())


if __name__ == "__main__":
    sys.exit(main())
