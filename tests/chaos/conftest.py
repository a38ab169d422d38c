"""A hub with short waits, on the test database and on a Redis of its own, so that no other test's worker takes part."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from hub.embedded import free_port, start_redis, wait_for_port
from hub.testing.plugin import saga_kill_matrix
from hub.testing.processes import Process
from hub.testing.rig import SHORT_WAITS
from sagas import services
from sagas.states import FINAL
from tests.chaos.saga_samples import QUEUE
from tests.processes import hub_environment, wait_until

__all__ = ["saga_kill_matrix"]

SWEEPER = (
    "from hub.setup import ensure_django; ensure_django(); from hub.testing.sweeping import sweep_for_ever\n"
    f"sweep_for_ever({SHORT_WAITS['HUB_SAGA_SWEEP_SEC']})"
)
FINAL_WORDS = {status.value for status in FINAL}


@dataclass(slots=True)
class Brisk:
    """The hub's processes and the face that a layer without our package has: a plain Celery client."""

    redis_url: str
    env: dict[str, str]
    log_dir: Path
    processes: dict[str, Process]
    target_url: str
    ledger: Path

    def client(self) -> Celery:
        return Celery(broker=self.redis_url, backend=self.redis_url, set_as_current=False)

    def start(self, saga_name: str, context: dict[str, Any] | None = None, **plan: str) -> str:
        """Start a saga by message and return its id; the plan says what its steps do (``b_undo="fail"``)."""
        plans = {name.replace("_undo", ".undo").replace("_layer", ".layer"): order for name, order in plan.items()}
        kwargs = {"saga_name": saga_name, "context": {"target": self.target_url, "plan": plans, **(context or {})}}
        with self.client() as client:
            answer = client.send_task("hub.sagas.start", kwargs=kwargs, queue="hub").get(timeout=20)
        return str(answer["execution_id"])

    def ended(self, execution_id: str, *, timeout_sec: float = 30) -> dict[str, Any]:
        """Return the run when it has ended."""

        def look() -> dict[str, Any] | None:
            found = services.status(execution_id)
            return found if found["status"] in FINAL_WORDS else None

        return wait_until(look, timeout_sec=timeout_sec, what=f"end of saga {execution_id}")

    def run(self, saga_name: str, **plan: str) -> dict[str, Any]:
        return self.ended(self.start(saga_name, **plan))

    def at_target(self, execution_id: str) -> list[str]:
        """Return what the target did and said, as ``step.direction event``."""
        lines = map(json.loads, self.ledger.read_text().splitlines()) if self.ledger.exists() else ()
        return [f"{line['step']}.{line['direction']} {line['event']}" for line in lines if line["saga"] == execution_id]

    def effects(self, execution_id: str) -> list[str]:
        """Return what took effect at the target, in order, as ``step.direction``."""
        return [line.split()[0] for line in self.at_target(execution_id) if line.endswith("applied")]

    def add_worker(self, name: str, *, concurrency: int = 2, **env: str) -> Process:
        command = [sys.executable, "-m", "celery", "-A", "hub", "worker", "-n", f"{name}@brisk", "-c", str(concurrency)]
        return self.add(name, [*command, "-l", "INFO", "-Q", "hub,hub.sagas,hub.control", "--without-mingle", "--without-gossip"], **env)

    def add_layer(self) -> Process:
        command = [sys.executable, "-m", "celery", "-A", "tests.chaos.layer", "worker", "-n", "layer@brisk", "-Q", QUEUE, "-c", "1"]
        return self.add("layer", [*command, "-l", "INFO", "--without-mingle", "--without-gossip"])

    def add(self, name: str, command: list[str], **env: str) -> Process:
        """Start a process; a worker is waited for until it answers."""
        process = self.processes[name] = Process(name, command, env={**self.env, **env}, log_dir=self.log_dir)
        if "celery" in command:
            self.wait_for(name)
        return process

    def wait_for(self, name: str) -> None:
        node = f"{name}@brisk"
        with self.client() as client:
            wait_until(lambda: client.control.ping(destination=[node], timeout=0.5), timeout_sec=40, what=f"{node} ready")

    def end(self, name: str) -> None:
        self.processes.pop(name).kill()


@pytest.fixture(scope="module")
def _brisk(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brisk]:
    home = tmp_path_factory.mktemp("brisk")
    redis_port, target_port, ledger = free_port(), free_port(), home / "ledger.jsonl"
    redis = start_redis(home / "redis", redis_port, append_only=False)
    url = f"redis://127.0.0.1:{redis_port}/0"
    env = hub_environment({"REDIS_URL": url, "BROKER_URL": url, "HUB_TESTING_DIR": str(home), **SHORT_WAITS})
    hub = Brisk(url, env, home, {}, f"http://127.0.0.1:{target_port}", ledger)
    try:
        hub.add("target", [sys.executable, "-m", "tests.chaos.target", str(target_port), str(ledger)])
        hub.add("sweeper", [sys.executable, "-c", SWEEPER])
        hub.add_worker("worker")
        wait_for_port(target_port, 20)
        yield hub
    finally:
        for process in hub.processes.values():
            process.kill()
        redis.kill()
        redis.wait(10)


@pytest.fixture
def brisk(no_worker: None, _brisk: Brisk, transactional_db: None) -> Iterator[Brisk]:
    """A worker, a sweeper, a target with a ledger, and a Redis; processes that a test killed are started again for the next."""
    for name, process in _brisk.processes.items():
        if not process.is_alive():
            process.kill()
            process.start()
            if name.startswith(("worker", "layer")):
                _brisk.wait_for(name)
    return _brisk


@pytest.fixture
def layer(_brisk: Brisk, brisk: Brisk) -> Process:
    """The layer's own worker: a Celery app without the hub's package."""
    return _brisk.processes.get("layer") or _brisk.add_layer()
