"""The processes of a bench: workers, services and rivals, each started when an arm first needs it, all ended at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from celery import Celery
from django.conf import settings

from hub.bench import cputime, plain
from hub.bench.rivals import Rivals
from hub.embedded import free_port, wait_for_port
from hub.testing.processes import Process
from hub.testing.rig import wait_until

READY_SEC = 60.0
HUB_QUEUES = "hub,hub.sagas,hub.events,hub.control"


class Pool(NamedTuple):
    """A way to run a worker: so many processes of `celery worker`, each with a pool of that kind and size."""

    kind: str
    size: int
    processes: int = 1


POOLS: Mapping[str, Pool] = {
    "prefork": Pool("prefork", 2),
    "threads": Pool("threads", 16),
    "2 x threads": Pool("threads", 8, processes=2),
    "gevent": Pool("gevent", 100),
}
_SERVERS = {"redis": "BENCH_REDIS_PID", "postgres": "BENCH_POSTGRES_PID"}


class Stage:
    """What arms ask for: ``stage.hub()``, ``stage.plain()``, ``stage.target()``; idle processes cost next to nothing."""

    def __init__(self, directory: Path, rivals: Rivals) -> None:
        self.directory, self.rivals = directory, rivals
        self.processes: dict[str, Process] = {}
        self.kept: dict[str, Any] = {}
        """What an arm prepared once and uses in each round."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        for process in reversed(self.processes.values()):
            process.kill()

    def start(self, name: str, command: list[str], *, env: Mapping[str, str] | None = None) -> Process:
        """Start a process once under a name."""
        if name not in self.processes:
            self.processes[name] = Process(name, command, env={**os.environ, **(env or {})}, log_dir=self.directory)
        return self.processes[name]

    def end(self, name: str) -> None:
        """End a process that would disturb other arms, if it is there."""
        if name in self.processes:
            self.processes.pop(name).kill()

    def ended(self) -> str:
        """Return which processes ended by themselves, with the last line that each wrote."""
        return "".join(f" ({name} ended: {_last_line(one.log())})" for name, one in self.processes.items() if not one.is_alive())

    def relay(self) -> None:
        """Have the hub's relay running, as `manage.py up` runs it."""
        self.start("relay", [sys.executable, "manage.py", "relay"])

    def publisher(self, name: str) -> None:
        """Have somebody publish as fast as it can, until ``end(f"publisher-{name}")``."""
        self.start(f"publisher-{name}", [sys.executable, "-m", "hub.bench.publishers", name])

    def hub(self, pool: str = "prefork") -> None:
        """Have the hub's worker and relay running, as `manage.py up` runs them; on another pool if that is named."""
        from hub.celery import app

        self.relay()
        if self.kept.get("pool", pool) != pool:
            for name in [name for name in self.processes if name.startswith("worker")]:
                self.end(name)
        self.kept["pool"] = pool
        for number in range(POOLS[pool].processes):
            self._worker(app, f"worker-{number + 1}" if number else "worker", "hub", HUB_QUEUES, POOLS[pool])

    def plain(self) -> None:
        """Have a stock worker of the plain app running: prefork, two processes."""
        self._worker(plain.app, "plain-worker", "hub.bench.plain", plain.QUEUE, POOLS["prefork"])

    def _worker(self, app: Celery, name: str, module: str, queues: str, pool: Pool) -> None:
        if name in self.processes:
            return
        node = f"{name}@bench"
        python, env = self.rivals.beside_the_hub() if pool.kind == "gevent" else (sys.executable, {})
        command = [python, "-m", "celery", "-A", module, "worker", "-n", node, "-Q", queues, "-P", pool.kind, "-c", str(pool.size)]
        command += ["-I", "hub.bench.noop"] if module == "hub" else []
        process = self.start(name, [*command, "-l", "WARNING", "--without-mingle", "--without-gossip"], env=env)
        wait_until(
            lambda: app.control.ping(destination=[node], timeout=0.5), timeout_sec=READY_SEC, what=f"{name} ready: {process.log_path}"
        )

    def target(self) -> str:
        """Have the cheap HTTP service running, and return its address."""
        if "target" not in self.processes:
            port = self.kept["target_port"] = free_port()
            self.start("target", [sys.executable, "-m", "hub.bench.target", str(port)])
            wait_for_port(port, READY_SEC)
        return f"http://127.0.0.1:{self.kept['target_port']}"

    def cpu_sec(self) -> dict[str, float]:
        """Return the CPU seconds used so far: by this process, by each process it started with its children, by the servers."""
        times = cputime.of_all()
        own = times[os.getpid()]
        roots = {name: process.pid for name, process in self.processes.items()}
        roots |= {name: int(os.environ[key]) for name, key in _SERVERS.items() if os.environ.get(key)}
        return {"client": own.user_sec, **{name: cputime.of_tree(pid, times) for name, pid in roots.items()}}

    def database(self) -> str:
        """Return ``sqlite`` or ``postgres``."""
        return "sqlite" if "sqlite" in settings.DATABASES["default"]["ENGINE"] else "postgres"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it wrote nothing"])[-1]
