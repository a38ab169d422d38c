"""Many services probed by one worker: how often, for how much CPU, and what a routed request takes meanwhile.

    python -m tests.registry.many [--services 1000] [--interval 30] [--seconds 60] [--database postgres://...]

Starts a Redis, a database, a worker, a beat and the services' process; then lets services fail in several ways and says when
each was seen, beside its bound: interval + timeout.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

# The hub's settings are read when something of Django is first imported: what the rig sets comes before that.
os.environ["DJANGO_SETTINGS_MODULE"] = "hub.settings"

from hub.bench import cputime
from hub.embedded import free_port, wait_for_port
from hub.testing.rig import Rig, wait_until

CALLS, PAUSE_SEC, START_SEC, WINDOW_SEC = 200, 0.02, 30.0, 10.0
QUICK_SEC, TIMEOUT_SEC, ROUNDS = 10.0, 1.0, 4
QUEUE = "l05.planning"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.registry.many")
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=30, help="seconds between two probes of one")
    parser.add_argument("--seconds", type=float, default=60, help="how long to look")
    parser.add_argument("--database", default="", help="an empty Postgres to use; SQLite if not given")
    asked = parser.parse_args()
    environment = {"HUB_ALLOW_LOOPBACK_ENDPOINTS": "true", "HUB_VAR_DIR": ""}
    with tempfile.TemporaryDirectory(prefix="hub-many-") as scratch:
        environment["HUB_VAR_DIR"] = scratch
        with Rig(Path(scratch), database_url=asked.database, env=environment, workers=1, waits={}) as rig:
            rig.add("beat", [sys.executable, "-m", "celery", "-A", "hub", "beat", "-l", "WARNING", "--pidfile="])
            url = _target(rig)
            _cost(rig, url, asked)
            _seen(rig, Path(scratch))


def _target(rig: Rig) -> str:
    port = free_port()
    rig.add("target", [sys.executable, "-m", "hub.bench.target", str(port)])
    wait_for_port(port, START_SEC)
    return f"http://127.0.0.1:{port}"


def _cost(rig: Rig, url: str, asked: argparse.Namespace) -> None:
    from tests.registry.samples import http_check, register

    register("routed", url)
    alone, idle = _latency_ms(), _cpu_share(rig, 10)
    for number in range(asked.services):
        register(f"service-{number}", url, check=http_check(f"/health/{number}", interval_sec=asked.interval))
    # The first round comes within seconds of registering; what is measured is the steady pace after it.
    wait_until(lambda: not _unseen(), timeout_sec=120 + asked.interval, what="a first probe of each")
    windows = max(1, round(asked.seconds / WINDOW_SEC))
    measured = [(_cpu_share(rig, WINDOW_SEC), _probed_lately()) for _ in range(windows)]
    share, rate = (sum(values) / windows for values in zip(*measured, strict=True))
    meanwhile = _latency_ms()
    print(f"{asked.services} services each {asked.interval:g} s: {rate:.1f} probes/s", end=", ")
    print(f"worker {100 * share:.1f} % of one CPU ({100 * idle:.1f} % without them)")
    for name, taken in (("without them", alone), ("meanwhile", meanwhile)):
        print(f"routed request through the worker, {name}: p50 {statistics.median(taken):.1f} ms, p99 {_p99(taken):.1f} ms")


def _latency_ms() -> list[float]:
    from hub.celery import app

    taken = []
    for _ in range(CALLS):
        started = time.perf_counter()
        kwargs = {"service_name": "routed", "method": "GET", "path": "/"}
        app.send_task("hub.requests.route", kwargs=kwargs, queue="hub").get(timeout=30)
        taken.append(1000 * (time.perf_counter() - started))
        time.sleep(PAUSE_SEC)
    return taken


def _p99(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100)[98]


def _cpu_share(rig: Rig, seconds: float) -> float:
    pid = rig.processes["worker1"].pid
    before = cputime.of_tree(pid, cputime.of_all())
    time.sleep(seconds)
    return (cputime.of_tree(pid, cputime.of_all()) - before) / seconds


def _unseen() -> bool:
    from registry_app.models import Service

    return Service.objects.filter(service_name__startswith="service-", status="unknown").exists()


def _probed_lately() -> float:
    """Return probes per second in the window that just ended; nothing is probed twice in so short a time."""
    from django.utils import timezone

    from registry_app.models import Service

    since = timezone.now() - timedelta(seconds=WINDOW_SEC)
    return Service.objects.filter(service_name__startswith="service-", last_probe_at__gt=since).count() / WINDOW_SEC


def _seen(rig: Rig, directory: Path) -> None:
    """Let services go bad at a random moment of their interval and say how long each took to be seen."""
    from tests.registry.targets import HttpService, start_grpc_server

    for round_number in range(ROUNDS):
        shop = HttpService(directory / f"mode{round_number}")
        server, port = start_grpc_server()
        name = f"layer{round_number}"
        layer = rig.add(name, [*_LAYER, "-n", f"{name}@rig", "-Q", f"{QUEUE}.{round_number}"], env={"BROKER_URL": rig.redis_url})
        rows = _registered(round_number, shop.url, port)
        wait_until(lambda rows=rows: all(_status(row) == "healthy" for row in rows.values()), timeout_sec=60, what="all healthy")
        time.sleep(QUICK_SEC * (round_number + 1) / ROUNDS)
        rig.held.add(name)
        for kind, act in (
            ("fails", lambda shop=shop: shop.behave("fail")),
            ("grpc dies", server.kill),
            ("worker dies", layer.kill),
        ):
            act()
            print(f"round {round_number + 1}, {kind}: seen after {_until_bad(rows[kind]):.1f} s of {QUICK_SEC + TIMEOUT_SEC:g} s")
        shop.die()
        server.wait(10)


_LAYER = [sys.executable, "-m", "celery", "-A", "tests.registry.layer_app", "worker", "-c", "1", "-l", "WARNING"]


def _registered(number: int, url: str, port: int) -> dict[str, Any]:
    from registry_app.checks import HealthCheck, HealthCheckType
    from tests.registry.samples import register

    quick = {"interval_sec": QUICK_SEC, "timeout_sec": TIMEOUT_SEC, "failure_threshold": 1}
    return {
        "fails": register(f"http{number}", url, check=HealthCheck(HealthCheckType.HTTP, "/health", **quick)),
        "grpc dies": register(
            f"grpc{number}", f"http://127.0.0.1:{port}", check=HealthCheck(HealthCheckType.GRPC, f"127.0.0.1:{port}", **quick)
        ),
        "worker dies": register(
            f"queue{number}", f"celery://{QUEUE}.{number}", check=HealthCheck(HealthCheckType.CELERY, f"{QUEUE}.{number}", **quick)
        ),
    }


def _status(info: Any) -> str:
    from tests.registry.samples import row_of

    return str(row_of(info).status)


def _until_bad(info: Any) -> float:
    started = time.monotonic()
    wait_until(lambda: _status(info) == "unhealthy", timeout_sec=60, what=f"{info.service_name} unhealthy")
    return time.monotonic() - started


if __name__ == "__main__":
    main()
