"""A hub of its own for one test run: its own Redis, database, workers and sweeper, as real processes.

The process that uses a rig is its driver: it sets Django up on the rig's database and is never itself killed.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from hub.embedded import free_port, redis_command, wait_for_port
from hub.testing.processes import Process

QUEUES = "hub,hub.sagas,hub.events,hub.control"
WATCH_SEC = 0.1
START_SEC = 60.0
T = TypeVar("T")

SHORT_WAITS: Mapping[str, str] = {
    "HUB_SAGA_LEASE_SEC": "2",
    "HUB_SAGA_LEASE_GRACE_SEC": "1",
    "HUB_SAGA_PICKUP_SEC": "1",
    "HUB_SAGA_SWEEP_SEC": "0.3",
    "HUB_SAGA_ORPHAN_SEC": "4",
    "HUB_SAGA_VERSION_WAIT_SEC": "8",
}
"""Settings under which what takes a site seconds takes a test a moment; the order of the waits stays."""

_SWEEPER = (
    "import time; from hub.setup import ensure_django; ensure_django(); import hub.testing.inside\n"
    "from django.conf import settings; from hub.testing.sweeping import sweep_for_ever; sweep_for_ever(settings.HUB.saga_sweep_sec)"
)
_RELAY = (
    "from hub.setup import ensure_django; ensure_django(); import hub.testing.inside\n"
    "from django.core.management import call_command; call_command('relay')"
)


def wait_until(condition: Callable[[], T], *, timeout_sec: float, what: str) -> T:
    """Ask every 50 ms until the answer is true and return it; `TimeoutError` with `what` when the time is over."""
    give_up_at = time.monotonic() + timeout_sec
    while time.monotonic() < give_up_at:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.05)
    raise TimeoutError(f"{what} did not come true within {timeout_sec:g} s")


class Rig:
    """Start with ``with Rig(...) as rig``; every process that dies is started again, unless it is `held`."""

    def __init__(
        self,
        var_dir: Path,
        *,
        database_url: str = "",
        saga_modules: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        workers: int = 2,
        concurrency: int = 2,
        append_only: bool = False,
        broker_port: int | None = None,
        before_workers: Callable[[Rig], None] | None = None,
        waits: Mapping[str, str] = SHORT_WAITS,
        sweeper: bool = True,
    ) -> None:
        self.var_dir, self.log_dir, self.orders = var_dir, var_dir / "log", var_dir / "orders"
        for directory in (self.log_dir, self.orders, var_dir / "redis"):
            directory.mkdir(parents=True, exist_ok=True)
        self.redis_port = free_port()
        self.redis_url = f"redis://127.0.0.1:{self.redis_port}/0"
        self.append_only = append_only
        self._workers, self._concurrency, self._has_sweeper = workers, concurrency, sweeper
        self._before_workers = before_workers
        self._own = {
            "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "hub.settings"),
            "DATABASE_URL": database_url or f"sqlite:///{var_dir / 'hub.sqlite3'}",
            "HUB_VAR_DIR": str(var_dir),
            "HUB_TESTING_DIR": str(var_dir),
            "HUB_SAGA_MODULES": ",".join([*saga_modules, "hub.testing.inside"]),
            "HUB_NO_BOOTSTRAP": "1",
            **waits,
            **(env or {}),
        }
        self.env = {**os.environ, **self._own, "HUB_CRASH_DIR": str(self.orders), "PYTHONUNBUFFERED": "1"}
        # Workers may reach Redis through a proxy; the driver itself always goes straight.
        self.env["REDIS_URL"] = f"redis://127.0.0.1:{broker_port or self.redis_port}/0"
        self.processes: dict[str, Process] = {}
        self.held: set[str] = set()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def _start(self) -> None:
        self.add("redis", redis_command(self.var_dir / "redis", self.redis_port, append_only=self.append_only))
        wait_for_port(self.redis_port, START_SEC)
        self._become_driver()
        if self._before_workers:
            self._before_workers(self)
        for number in range(self._workers):
            self.add_worker(f"worker{number + 1}")
        if self._has_sweeper:
            self.add("sweeper", [sys.executable, "-c", _SWEEPER])
        self._watch = threading.Thread(target=self._keep_alive, daemon=True)
        self._watch.start()
        self.wait_for_workers()

    def _become_driver(self) -> None:
        os.environ.update(self._own | {"REDIS_URL": self.redis_url, "HUB_TELEMETRY_IN_BACKGROUND": "false"})
        from hub.setup import ensure_django

        ensure_django()
        from django.core.management import call_command

        call_command("migrate", verbosity=0, interactive=False)

    def add(self, name: str, command: list[str], *, env: Mapping[str, str] | None = None) -> Process:
        """Start a process in the rig's environment and keep it alive."""
        self.processes[name] = Process(name, command, env={**self.env, **(env or {})}, log_dir=self.log_dir)
        return self.processes[name]

    def add_worker(self, name: str, *, env: Mapping[str, str] | None = None, queues: str = QUEUES) -> Process:
        """Start a prefork worker of the hub, armed with the orders."""
        command = [sys.executable, "-m", "celery", "-A", "hub", "worker", "-n", f"{name}@rig", "-Q", queues, "-I", "hub.testing.inside"]
        return self.add(name, [*command, "-c", str(self._concurrency), "-l", "INFO", "--without-mingle", "--without-gossip"], env=env)

    def add_relay(self) -> Process:
        """Start ``manage.py relay``, which passes events on and sweeps sagas too, armed with the orders."""
        return self.add("relay", [sys.executable, "-c", _RELAY])

    def wait_for_workers(self, also: Sequence[str] = ()) -> None:
        """Return when every worker of the hub, and those named in `also`, answer a ping."""
        from hub.celery import app

        names = {f"{name}@rig" for name in self.processes if name.startswith("worker") or name in also}
        wait_until(lambda: names <= _answering(app), timeout_sec=START_SEC, what=f"{len(names)} workers ready")

    def _keep_alive(self) -> None:
        while not self._over.wait(WATCH_SEC):
            for name, process in list(self.processes.items()):
                if name not in self.held and not process.is_alive():
                    process.kill()  # what is left of its group
                    process.start()

    def stop(self) -> None:
        """End every process of the rig."""
        self._over.set()
        for process in reversed(self.processes.values()):
            process.kill()


def _answering(app: Any) -> set[str]:
    return {name for answer in app.control.ping(timeout=0.7) for name in answer}
