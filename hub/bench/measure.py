"""Measure work: units per second or milliseconds per unit, and what each unit cost in CPU, Redis commands and transactions."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import quantiles
from typing import Any

from django.db import connection

from hub.bench.figures import Sample
from hub.bench.stage import Stage
from hub.redis_client import client

SETTLE_SEC = 0.05


def rate(stage: Stage, work: Callable[[], int]) -> Sample:
    """Run `work`, which returns how many units it did, and return units per second with their costs."""
    before, started = _Counters(stage), time.perf_counter()
    units = work()
    seconds = time.perf_counter() - started
    return _Counters(stage).since(before, figure=units / seconds, units=units)


def latency(stage: Stage, once: Callable[[], object], *, times: int, warm_up: int = 10) -> Sample:
    """Run `once` one at a time and return the median in milliseconds with its costs."""
    for _ in range(warm_up):
        once()
    before, taken = _Counters(stage), []
    for _ in range(times):
        started = time.perf_counter()
        once()
        taken.append((time.perf_counter() - started) * 1000)
    return _Counters(stage).since(before, figure=quantiles(taken, n=100)[49], units=times)


def calls(stage: Stage, once: Callable[[], object], *, seconds: float = 0.5, batch: int = 100) -> Sample:
    """Call `once` for a while in this process, and return calls per second."""

    def work() -> int:
        done, until = 0, time.perf_counter() + seconds
        while time.perf_counter() < until:
            for _ in range(batch):
                once()
            done += batch
        return done

    return rate(stage, work)


class _Counters:
    """What was used so far, everywhere."""

    def __init__(self, stage: Stage) -> None:
        self.cpu = stage.cpu_sec()
        stats: Any = client().info("stats")
        self.commands, self.reads = int(stats["total_commands_processed"]), int(stats["total_reads_processed"])
        self.transactions = _transactions() if stage.database() == "postgres" else None

    def since(self, before: _Counters, *, figure: float, units: int) -> Sample:
        """Return what happened between two looks, per unit."""
        cpu = {name: (used - before.cpu.get(name, 0.0)) * 1000 / units for name, used in self.cpu.items()}
        transactions = None
        if self.transactions is not None and before.transactions is not None:
            transactions = (self.transactions - before.transactions) / units
        return Sample(
            figure=figure,
            units=units,
            cpu_ms={name: used for name, used in cpu.items() if used > 0.0005},
            redis_commands=(self.commands - before.commands) / units,
            redis_round_trips=(self.reads - before.reads) / units,
            transactions=transactions,
        )


def _transactions() -> int:
    """Return the transaction ids that Postgres gave out: one per transaction that wrote."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        return int(cursor.fetchone()[0])
