"""pytest-celery's broker, backend and worker as local processes: the same tests, no Docker engine.

pytest-celery asks little of a container: name, id, status, logs, kill, reload, restart, ready, teardown and a configuration.
"""

from __future__ import annotations

import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from pytest_celery import CeleryTestWorker

from hub.embedded import start_redis
from tests.processes import Worker


class LocalNode(ABC):
    """What pytest-celery takes for a container."""

    def __init__(self, name: str) -> None:
        self.name = self.id = name
        self.celeryconfig: dict[str, str] = {}

    @property
    @abstractmethod
    def status(self) -> str:
        """Return `running` or `exited`."""

    def reload(self) -> None:
        """Docker would refresh its view here; a process needs none."""
        return

    def ready(self) -> bool:
        return self.status == "running"


class LocalRedis(LocalNode):
    """A Redis with an append-only file on a port of its own; it keeps both over restarts."""

    def __init__(self, data_dir: Path, port: int) -> None:
        super().__init__("redis")
        self._data_dir, self._port = data_dir, port
        url = f"redis://127.0.0.1:{port}/0"
        self.celeryconfig = {"url": url, "host_url": url}
        self._start()

    def _start(self) -> None:
        self._process: subprocess.Popen[bytes] = start_redis(self._data_dir, self._port)

    @property
    def status(self) -> str:
        return "running" if self._process.poll() is None else "exited"

    def kill(self, signal: str | int = "SIGKILL") -> None:
        self._process.send_signal(_number(signal))
        self._process.wait(10)

    def restart(self, timeout: float) -> None:
        if self.status == "running":
            self.kill("SIGTERM")
        self._start()

    def teardown(self) -> None:
        if self.status == "running":
            self.kill()


class LocalWorkerProcess(LocalNode):
    """A worker of the hub in its own process group."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker.name)
        self._worker = worker

    @property
    def status(self) -> str:
        return "running" if self._worker.is_alive() else "exited"

    def logs(self) -> str:
        return self._worker.log()

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """As a container: SIGKILL ends all its processes, another signal goes to the first and is waited for."""
        if _number(signal) == _number("SIGKILL"):
            self._worker.kill()
        else:
            self._worker.stop()

    def restart(self, timeout: float) -> None:
        if self._worker.is_alive():
            self._worker.stop()
        self._worker.start()

    def teardown(self) -> None:
        self._worker.kill()


class HubWorkerNode(CeleryTestWorker):
    """pytest-celery's view of a worker of the hub."""

    @property
    def worker_name(self) -> str:
        return self.container.name

    @property
    def worker_queue(self) -> str:
        return "hub"

    def hostname(self) -> str:
        return f"{self.container.name}@test"


def _number(given: str | int) -> int:
    return signal.Signals[given] if isinstance(given, str) else given
