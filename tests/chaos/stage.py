"""The whole scene: a rig with its database, the target that the sagas call, and a layer's own worker."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.embedded import free_port, wait_for_port
from hub.testing import databases
from hub.testing.rig import Rig
from tests.chaos.ledgers import LedgerReader
from tests.chaos.saga_samples import QUEUE, SERVICE

MODULES = ("tests.chaos.saga_samples", "tests.chaos.kind_samples")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What a scenario plays on."""

    rig: Rig
    database: databases.Sqlite | databases.Postgres
    target_url: str
    ledger: LedgerReader

    def context(self, **plan: str) -> dict[str, Any]:
        """Return a saga's context: where the target is, and what it shall do at which step (``e="refuse"``)."""
        return {
            "target": self.target_url,
            "plan": {name.replace("_undo", ".undo").replace("_layer", ".layer"): order for name, order in plan.items()},
        }


@contextlib.contextmanager
def stage(
    directory: Path,
    *,
    database: str,
    layer: bool = True,
    manners: str = "honours",
    control_port: int | None = None,
    **options: Any,
) -> Iterator[Stage]:
    """Start everything, and end everything afterwards; with a `control_port`, workers reach Redis through a fault proxy."""
    directory.mkdir(parents=True, exist_ok=True)
    if control_port is not None:
        options |= _behind_proxy(free_port(), control_port)
    with databases.started(database, directory) as db, Rig(directory, database_url=db.url, saga_modules=MODULES, **options) as rig:
        port = free_port()
        rig.add("target", [sys.executable, "-m", "tests.chaos.target", str(port), str(directory / "ledger.jsonl"), manners])
        wait_for_port(port, 20)
        url = f"http://127.0.0.1:{port}"
        _register(url)
        if layer:
            add_layer(rig)
        yield Stage(rig=rig, database=db, target_url=url, ledger=LedgerReader(directory / "ledger.jsonl"))


def _behind_proxy(broker_port: int, control_port: int) -> dict[str, Any]:
    def start(rig: Rig) -> None:
        rig.add("proxy", [sys.executable, "-m", "tests.chaos.faultproxy", str(broker_port), str(rig.redis_port), str(control_port)])
        wait_for_port(broker_port, 20)

    return {"broker_port": broker_port, "before_workers": start}


def add_layer(rig: Rig, name: str = "layer") -> None:
    """Start the layer's own worker and wait until it answers."""
    command = [sys.executable, "-m", "celery", "-A", "tests.chaos.layer", "worker", "-n", f"{name}@rig", "-Q", QUEUE, "-c", "2"]
    rig.add(name, [*command, "--without-mingle", "--without-gossip"], env={"BROKER_URL": rig.env["REDIS_URL"]})
    rig.wait_for_workers(also=(name,))


def _register(url: str) -> None:
    from hub import HealthCheck, HealthCheckType, ServiceInfo
    from registry_app import services

    check = HealthCheck(check_type=HealthCheckType.HTTP, endpoint="/")
    services.register(ServiceInfo.create(service_name=SERVICE, service_version="1.0.0", endpoint=url, health_check=check))
