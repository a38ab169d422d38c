"""``manage.py relay``: the loops that must go on whatever the workers do. Any number of these processes may run."""

from __future__ import annotations

import logging
import random
import signal
import threading
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import close_old_connections

from hub.events import relay as events
from hub.management.command import HubCommand
from sagas import recovery

log = logging.getLogger("hub.relay")

LONGEST_PAUSE_SEC = 30.0
RESUME_SEC = 10.0


class Command(HubCommand):
    help = "Sweep sagas that nobody moves, and relay durable events to their subscriptions. Run one or more."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        loops = [threading.Thread(target=loop, args=(stop,), name=name, daemon=True) for name, loop in LOOPS.items()]
        for loop in loops:
            loop.start()
        log.info("relay runs: %s", ", ".join(loop.name for loop in loops))
        while not stop.wait(1.0):
            dead = [loop.name for loop in loops if not loop.is_alive()]
            if dead:
                # The supervisor starts a new process; half a relay would look alive and do half the work.
                raise SystemExit(f"E11900: the loop {dead[0]} ended; the process stops so that it is started again")
        for loop in loops:
            loop.join(timeout=5)


def sweep_sagas(stop: threading.Event) -> None:
    repeat(recovery.sweep, settings.HUB.saga_sweep_sec, stop)


def repeat(work: Callable[[], Any], pause_sec: float, stop: threading.Event) -> None:
    """Do `work` again and again with a jittered pause; after errors the pause doubles, up to 30 s."""
    failures = 0
    while not stop.wait(min(LONGEST_PAUSE_SEC, pause_sec * 2 ** min(failures, 10)) * random.uniform(0.8, 1.2)):  # noqa: S311
        close_old_connections()
        try:
            work()
            failures = 0
        except Exception:  # The loop outlives what it depends on: a database or Redis that is away comes back.
            failures += 1
            log.exception("loop %s failed %d times in a row", threading.current_thread().name, failures)


def resume_parked(stop: threading.Event) -> None:
    repeat(recovery.resume_parked, RESUME_SEC, stop)


LOOPS: dict[str, Callable[[threading.Event], None]] = {
    "saga sweeper": sweep_sagas,
    "parked sagas": resume_parked,
    "event relay": events.run,
}
