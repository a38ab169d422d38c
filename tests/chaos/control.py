"""The control: the same faults, target and judge, but a plain Celery chain with error callbacks instead of the hub.

    python -m tests.chaos.control --sagas 60 --faults 20 [--aof]

A harness that finds nothing here would prove nothing elsewhere: it ends with 0 when violations were found.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The hub's settings are read when something of Django is first imported: what the rig sets comes before that.
os.environ["DJANGO_SETTINGS_MODULE"] = "hub.settings"

from kombu.exceptions import KombuError
from redis import Redis
from redis.exceptions import RedisError

from hub.embedded import free_port
from hub.testing.values import Violation
from tests.chaos import plain
from tests.chaos.faultproxy import Remote
from tests.chaos.mixed import PLANS
from tests.chaos.nemesis import Nemesis
from tests.chaos.plain import STEPS
from tests.chaos.schedule import Schedule
from tests.chaos.stage import Stage, stage

KINDS = (
    "worker killed",
    "child killed",
    "redis cut",
    "BRPOP answer lost",
    "LPUSH answer lost",
    "messages doubled",
    "links revoked",
    "links expired",
    "task name unknown",
    "redis restarted empty",
)
AWAY = (RedisError, KombuError, OSError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenario and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.control")
    parser.add_argument("--sagas", type=int, default=60)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--every-sec", type=float, default=1.5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet-sec", type=float, default=12, help="what has not ended when nothing moved for this long never will")
    parser.add_argument("--only", default="", help="kinds of faults, comma-separated")
    parser.add_argument("--aof", action="store_true", help="let Redis keep its data, and never restart it empty")
    parser.add_argument("--dir", default="")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hub-control-") as scratch:
        return run(asked, Path(asked.dir or scratch))


def run(asked: Any, directory: Path) -> int:
    """Set the stage with plain workers, let sagas and faults go, wait until nothing moves, and judge."""
    control_port, chance = free_port(), random.Random(asked.seed)
    with stage(
        directory, database="sqlite", layer=False, control_port=control_port, workers=0, sweeper=False, append_only=asked.aof
    ) as scene:
        _add_plain_workers(scene)
        nemesis = Nemesis(stage=scene, proxy=Remote(control_port), random=chance, frozen_sec=5, start_typo=lambda: "", queue="celery")
        wanted = asked.only.split(",") if asked.only else [kind for kind in KINDS if not (asked.aof and "empty" in kind)]
        kinds = {name: fall for name, fall in nemesis.kinds().items() if name in wanted}
        schedule = Schedule(kinds, count=asked.faults, every_sec=asked.every_sec, log=directory / "faults.jsonl", chance=chance)
        sent = _play(scene, schedule, asked, chance)
        return _report(scene, schedule, sent)


def _add_plain_workers(scene: Stage) -> None:
    for number in (1, 2):
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "tests.chaos.plain",
            "worker",
            "-n",
            f"worker{number}@rig",
            "-c",
            "2",
            "-l",
            "INFO",
        ]
        scene.rig.add(f"worker{number}", [*command, "--without-mingle", "--without-gossip"], env={"BROKER_URL": scene.rig.env["REDIS_URL"]})
    scene.rig.wait_for_workers()


def _play(scene: Stage, schedule: Schedule, asked: Any, chance: random.Random) -> dict[str, str]:
    plain.app.conf.update(broker_url=scene.rig.redis_url, result_backend=None, task_publish_retry_policy={"max_retries": 0})
    sent: dict[str, str] = {}
    sagas: int = asked.sagas
    began, moved_at, lines = time.monotonic(), time.monotonic(), 0
    while len(sent) < sagas or not schedule.is_over() or time.monotonic() - moved_at < asked.quiet_sec:
        if len(sent) < sagas and time.monotonic() - began >= schedule.span_sec() * len(sent) / sagas:
            saga = f"saga-{len(sent) + 1}"
            try:
                sent[saga] = plain.start(scene.context(**chance.choice(PLANS)), saga)
            except AWAY:
                time.sleep(0.2)  # a caller that was told so may ask again; this one does
        schedule.tick()
        if len(scene.ledger.read()) > lines:
            lines, moved_at = len(scene.ledger.lines), time.monotonic()
        time.sleep(0.05)
    return sent


def _report(scene: Stage, schedule: Schedule, sent: dict[str, str]) -> int:
    for fault in schedule.faults:
        print(f"{fault.kind:22} {fault.ended - fault.began:5.1f} s  {fault.proof}")
    redis = Redis.from_url(scene.rig.redis_url)
    found = {saga: _judged(scene, saga, _end(redis, scene, saga, task_id)) for saga, task_id in sent.items()}
    counts = Counter(kind for violations in found.values() for kind in {violation.kind for violation in violations})
    for saga, violations in found.items():
        for violation in violations:
            print(f"{violation.kind}: {saga}: {violation.text}")
    print(f"faults {len(schedule.faults)}: {dict(sorted(Counter(fault.kind for fault in schedule.faults).items()))}")
    figures = " · ".join(f"{kind} {counts[kind]}" for kind in ("stuck", "lied", "doubled", "out of order"))
    print(f"plain chain + error callbacks: {len(sent)} sagas · {figures}")
    return 0 if sum(counts.values()) else 1


def _end(redis: Redis, scene: Stage, saga: str, task_id: str) -> str:
    """Return how the saga ended, in its favour: by what took effect, and only then by what its caller can look up."""
    applied = [(line["step"], line["kind"]) for line in scene.ledger.of(saga) if line["ev"] == "apply"]
    acted, undone = ({step for step, kind in applied if kind == wanted} for wanted in ("action", "comp"))
    if not undone and acted == set(STEPS):
        return "completed"
    if undone and ("a" in undone or acted <= undone):
        return "compensated"
    stored = redis.get(f"celery-task-meta-{task_id}")
    failed = bool(stored) and json.loads(stored)["status"] == "FAILURE"
    # The callback of the first step has nothing before it to undo: its caller is told that all is well again.
    return "compensated" if failed and acted <= {"a"} else "running"


def _judged(scene: Stage, saga: str, status: str) -> list[Violation]:
    from hub.testing.judge import Found, judge
    from tests.chaos.saga_samples import chaos_functions

    return judge(Found(spec=chaos_functions.spec(), status=status, steps={}, book=scene.ledger.of(saga), keeps_book=frozenset(STEPS)))


if __name__ == "__main__":
    sys.exit(main())
