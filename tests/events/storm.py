"""No acknowledged event is lost: subscribers that are away, relays that are killed, a Redis that restarts.

    python -m tests.events.storm --events 10000 [--database sqlite|postgres] [--dir DIRECTORY]

All events are published while every subscriber is away: a layer's task, another one that refuses each 20th event, and
an HTTP endpoint behind a topic route. Meanwhile one of two relays is killed (SIGKILL) three times and Redis, which
writes an append-only file, once. Then the subscribers come. The judge is `tests/events/receipts.py`: it reads what
the publisher was told and what the subscribers kept. Ends with 0 when nothing is wrong.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# The hub's settings are read when something of Django is first imported: what the rig sets comes before that.
os.environ["DJANGO_SETTINGS_MODULE"] = "hub.settings"

from hub.embedded import free_port, wait_for_port
from hub.testing import databases
from hub.testing.rig import Rig
from tests.events import receipts

RELAY = "import threading; from hub.setup import ensure_django; ensure_django(); from hub.events import relay; relay.run(threading.Event())"
SETTINGS = {"HUB_CIRCUIT_TIMEOUT_SEC": "2", "HUB_EVENT_MAX_PER_SEC": "1000000"}
ROUTED_EVERY, REFUSED_EVERY = 10, 20
AWAY_SEC = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the storm and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(prog="python -m tests.events.storm", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--dir", default="", help="where logs, receipts and data stay")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hub-storm-") as scratch:
        directory = Path(asked.dir or scratch)
        directory.mkdir(parents=True, exist_ok=True)
        with (
            databases.started(asked.database, directory) as database,
            Rig(directory, database_url=database.url, append_only=True, sweeper=False, workers=1, env=SETTINGS) as rig,
        ):
            return storm(rig, asked.events)


def storm(rig: Rig, events: int) -> int:
    """Publish through the faults, let the subscribers come, wait, judge; 0 when nothing is wrong."""
    port, file = free_port(), rig.var_dir / "receipts"
    file.touch()
    _subscribe(port)
    for name in ("relay1", "relay2"):
        rig.add(name, [sys.executable, "-c", RELAY])
    began = time.monotonic()
    acknowledged = _publish(events, faults=_faults(rig, events))
    published_sec = time.monotonic() - began
    began = time.monotonic()
    _let_subscribers_come(rig, port, file)
    _wait_until_delivered(events, within_sec=300 + events / 5)
    return _report(acknowledged, file, published_sec=published_sec, caught_up_sec=time.monotonic() - began, restarts=_restarts(rig))


def _subscribe(port: int) -> None:
    from hub.events import subscriptions
    from hub.events.subscriptions import Policy
    from hub.events.targets import HttpTarget, TaskTarget
    from registry_app import services
    from registry_app.values import ServiceInfo

    services.register(ServiceInfo.create("L02_runtime", "1.0", f"http://127.0.0.1:{port}"))
    policy = Policy(max_attempts=3, retry_delay_sec=0.1, timeout_sec=15)
    patient = Policy(max_attempts=50, retry_delay_sec=0.5, retry_max_delay_sec=2, timeout_sec=15)
    subscriptions.subscribe("good", "agent.**", TaskTarget(task="l03.on_event", queue="l03"), policy=policy)
    subscriptions.subscribe("picky", "agent.**", TaskTarget(task="l03.picky", queue="l03"), policy=policy)
    subscriptions.subscribe("route", "agent.routed", HttpTarget(service_name="L02_runtime", path="/events/agent"), policy=patient)


def _faults(rig: Rig, events: int) -> dict[int, Callable[[], None]]:
    """Return what falls down after which event; the rig starts it again."""

    def kill(name: str) -> Callable[[], None]:
        return lambda: rig.processes[name].signal(signal.SIGKILL)

    return {
        events // 4: kill("relay1"),
        events // 3: kill("redis"),
        events // 2: kill("relay2"),
        3 * events // 4: kill("relay1"),
    }


def _publish(events: int, *, faults: dict[int, Callable[[], None]]) -> dict[str, int]:
    """Publish one by one and return each acknowledged id with its number."""
    from hub.events.messages import EventMessage

    acknowledged = {}
    for number in range(1, events + 1):
        topic = "agent.routed" if number % ROUTED_EVERY == 0 else "agent.created"
        acknowledged[_until_acknowledged(EventMessage.create(topic, "created", {"n": number}, source_service="L02"))] = number
        faults.get(number, lambda: None)()
    return acknowledged


def _until_acknowledged(event: Any) -> str:
    """Publish the same event again while the outcome is unknown, as its caller is told to."""
    from hub.errors import IntegrationError
    from hub.events import bus

    give_up_at = time.monotonic() + AWAY_SEC
    while True:
        try:
            return bus.publish(event)
        except IntegrationError as exc:
            if exc.code != "E11140" or time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)


def _let_subscribers_come(rig: Rig, port: int, file: Path) -> None:
    rig.add("http-layer", [sys.executable, "-m", "tests.events.http_layer", str(port), str(file)])
    command = [sys.executable, "-m", "celery", "-A", "tests.events.layer", "worker", "-n", "layer@rig", "-Q", "l03", "-c", "2"]
    env = {"BROKER_URL": rig.env["REDIS_URL"], "RECEIPTS": str(file)}
    rig.add("layer", [*command, "--without-mingle", "--without-gossip", "--without-heartbeat"], env=env)
    wait_for_port(port, 20)


def _wait_until_delivered(events: int, *, within_sec: float) -> None:
    from hub.events.models import Delivery
    from hub.testing.rig import wait_until

    open_ones = Delivery.objects.filter(status__in=[Delivery.Status.PENDING, Delivery.Status.SENDING])
    expected = 2 * events + events // ROUTED_EVERY

    def is_over() -> bool:
        time.sleep(0.5)
        return Delivery.objects.count() == expected and not open_ones.exists()

    wait_until(is_over, timeout_sec=within_sec, what=f"{expected} deliveries at their end")


def _restarts(rig: Rig) -> str:
    return ", ".join(f"{name} {process.starts - 1}" for name, process in rig.processes.items() if process.starts > 1)


def _report(acknowledged: dict[str, int], file: Path, *, published_sec: float, caught_up_sec: float, restarts: str) -> int:
    from hub.events.models import DeadLetter

    everything = list(acknowledged)
    routed = [one for one, number in acknowledged.items() if number % ROUTED_EVERY == 0]
    refused = [one for one, number in acknowledged.items() if number % REFUSED_EVERY == 0]
    verdict = receipts.judge(
        wanted={"good": everything, "picky": everything, "route": routed},
        received=receipts.read(file.read_text()),
        dead=DeadLetter.objects.values_list("subscription__name", "event__event_id"),
        poison={"picky": refused},
    )
    print(
        f"events {len(acknowledged)}, published in {published_sec:.0f} s, delivered in another {caught_up_sec:.0f} s; restarts: {restarts}"
    )
    print(f"dead letters {DeadLetter.objects.count()} of {len(refused)} refused; came more than once: {dict(verdict.doubled)}")
    for violation in verdict.violations:
        print(f"VIOLATION {violation}")
    print("wrong" if verdict.violations else "every acknowledged event was delivered or is a dead letter, once")
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
