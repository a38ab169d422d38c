"""Run the rows: rounds of interleaved arms, then a table. Started by `manage.py bench` on servers of its own."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hub.setup import ensure_django

ensure_django()

from celery.exceptions import TimeoutError as NoAnswer  # noqa: E402
from django.core.management import call_command  # noqa: E402

from hub.bench import figures  # noqa: E402
from hub.bench.arms import ARMS  # noqa: E402
from hub.bench.figures import Sample, Verdict  # noqa: E402
from hub.bench.rivals import RivalAbsent, Rivals  # noqa: E402
from hub.bench.rows import ROWS  # noqa: E402
from hub.bench.stage import Stage  # noqa: E402

WIDTH = 180
"""Where nobody's terminal says how wide a line may be."""


def main(arguments: Sequence[str]) -> int:
    """Measure and report; 0 when all of ours came out (strictly: every row that was asked for), 1 when not."""
    parser = argparse.ArgumentParser(prog="manage.py bench")
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--strict", action="store_true")
    asked = parser.parse_args(arguments)
    call_command("migrate", verbosity=0, interactive=False)
    return _bench(asked.only, asked.rounds, asked.json, is_strict=asked.strict)


def _bench(only: str, rounds: int, json_path: Path | None, *, is_strict: bool) -> int:
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    with Stage(Path(os.environ["BENCH_DIR"]), Rivals(Path(os.environ["BENCH_RIVALS_DIR"]))) as stage:
        rows = figures.chosen(ROWS, only, stage.database())
        unknown = figures.not_shown(rows, only)
        if unknown:
            console.print(f"no row on {stage.database()}: {', '.join(unknown)}; there are: {', '.join(row.id for row in ROWS)}")
        if not rows or (unknown and is_strict):
            return 1
        samples, missed = _rounds(stage, sorted({arm for row in rows for arm in row.arms}), rounds, console)
        verdicts = [verdict for row in rows if (verdict := figures.judge(row, samples))]
        console.print(_machine(stage.database(), rounds))
    _report(console, verdicts, missed)
    if json_path:
        json_path.write_text(json.dumps([one.as_dict() for one in verdicts], indent=1) + "\n")
    return 0 if figures.is_complete(rows, {one.id for one in verdicts}, missed, strictly=is_strict) else 1


def _rounds(stage: Stage, arms: list[str], rounds: int, console: Console) -> tuple[list[dict[str, Sample]], dict[str, str]]:
    """Return each round's samples, and why an arm has none: a rival that is not there, or the first time that one took too long."""
    taken: list[dict[str, Sample]] = []
    absent: set[str] = set()
    missed: dict[str, str] = {}
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("bench", total=rounds * len(arms))
        for number in range(rounds):
            taken.append({})
            for arm in figures.order(arms, number):
                progress.update(bar, description=f"round {number + 1}: {arm}")
                try:
                    if arm not in absent:
                        taken[-1][arm] = ARMS[arm](stage)
                except RivalAbsent as exc:
                    absent.add(arm)
                    missed[arm] = str(exc)
                except (TimeoutError, NoAnswer) as exc:
                    missed.setdefault(arm, f"round {number + 1}: {exc}{stage.ended()}")
                progress.advance(bar)
    return taken, missed


def _machine(database: str, rounds: int) -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {database}, {rounds} rounds, interleaved"


def _report(console: Console, verdicts: Sequence[Verdict], missed: dict[str, str]) -> None:
    table = Table("", "what", "ours", "rival", "ratio", "spread", "must", "ambitious", "met")
    for one in verdicts:
        rival = "" if one.rival is None else f"{one.rival:,.4g}"
        spread = f"{one.spread[0]:.3g}..{one.spread[1]:.3g}" + (" noisy" if one.is_noisy else "")
        table.add_row(
            one.id, one.what, f"{one.ours:,.4g}", rival, f"{one.ratio:.3g}", spread, _text(one.target), _text(one.ambitious), one.met
        )
    console.print(table)
    costs = Table("arm, per unit", "CPU ms by process", "Redis commands", "round trips", "write transactions")
    for arm, cost in {arm: cost for one in verdicts for arm, cost in one.costs.items()}.items():
        if not any(cost.values()):
            continue  # measured in a process of its own
        cpu = ", ".join(f"{kind} {used:g}" for kind, used in cost["cpu_ms"].items())
        costs.add_row(arm, cpu, *(_text(cost[name]) for name in ("redis_commands", "redis_round_trips", "transactions")))
    if costs.rows:
        console.print(costs)
    for arm, why in missed.items():
        console.print(f"left out: {arm}: {why}")


def _text(figure: float | None) -> str:
    return "" if figure is None else f"{figure:g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
