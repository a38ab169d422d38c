"""This process' part in the fleet's breakers: a copy of each that it uses, and what to do when Redis is gone."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import redis

from hub.circuits import snapshots, store
from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.listener import Listener
from hub.circuits.local import LocalCircuits, wall_clock_ms
from hub.circuits.snapshots import CircuitSnapshot
from hub.telemetry import metrics

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_AGE_SEC = 1.0
"""A copy is compared with Redis this often, should a change have gone unheard."""
FIRST_PAUSE_SEC, LONGEST_PAUSE_SEC = 1.0, 5.0
"""How long this process leaves a Redis alone that did not answer."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call; its result counts only in the generation it was given in."""

    service_name: str
    generation: int
    config: CircuitBreakerConfig
    probe_id: str = ""
    is_shared: bool = True

    @property
    def breaker_state(self) -> str:
        """Say for a decision record how the breaker stood."""
        return ("half_open" if self.probe_id else "closed") + ("" if self.is_shared else " (this process only)")


@dataclass(slots=True)
class Copy:
    """What is known of one breaker here, and the good results that the fleet does not know of yet."""

    snapshot: CircuitSnapshot
    heard_at: float
    is_stale: bool = False
    is_quiet: bool = False
    """What the snapshot's own property says, asked for once per snapshot rather than once per call."""
    good: int = 0
    good_slow: int = 0
    refusals: int = 0
    waits_until: float = 0.0
    """Until when (``time.monotonic``) calls from here let those under way report first; see `hub.circuits.turns`."""
    permit: Permit | None = None
    """What every caller with `permit_config` gets while the breaker lets all calls through."""
    permit_config: CircuitBreakerConfig | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def now_ms(self) -> int:
        """Return the time of Redis' clock, as far as this process can tell."""
        return self.snapshot.now_ms + int((time.monotonic() - self.heard_at) * 1000)

    def take_good(self) -> dict[str, int]:
        """Hand over the good results, as arguments of an operation that takes them along."""
        with self.lock:
            taken = {"good": self.good, "good_slow": self.good_slow, "good_generation": self.snapshot.generation}
            self.good = self.good_slow = 0
        return taken if taken["good"] else {}


class Fleet:
    """Copies, and the switch between shared and local breakers."""

    def __init__(self) -> None:
        self.copies: dict[str, Copy] = {}
        self.local = LocalCircuits(self._last_known, self.now_ms)
        self._listener = Listener(self._told, self._missed)
        self.hear = self._listener.hear
        self._alone_since: float | None = None
        self._next_try = 0.0
        self._pause_sec = FIRST_PAUSE_SEC
        self._offset_ms = 0

    @property
    def alone_since(self) -> float | None:
        """Return since when (seconds since 1970) this process has no Redis, or None while it has."""
        return self._alone_since

    @property
    def is_alone(self) -> bool:
        """Tell whether Redis should not even be tried now."""
        return self._alone_since is not None and time.monotonic() < self._next_try

    @property
    def is_listening(self) -> bool:
        """Tell whether changes made elsewhere arrive here."""
        return self._listener.is_subscribed

    def now_ms(self) -> int:
        """Return the time of Redis' clock, or this machine's before Redis was ever reached."""
        return wall_clock_ms() + self._offset_ms

    def fresh(self, service_name: str) -> Copy | None:
        """Return the copy of a breaker, if it is young enough to decide by."""
        copy = self.copies.get(service_name)
        if copy is None or copy.is_stale or time.monotonic() - copy.heard_at >= MAX_AGE_SEC:
            return None
        return copy

    def ask(self, service_name: str, operation: str, config: CircuitBreakerConfig, **args: Any) -> dict[str, Any] | None:
        """Run an operation on the fleet's state and keep what it says; None when Redis is gone."""
        copy = self.copies.get(service_name)
        taken, asked_at = copy.take_good() if copy else {}, time.monotonic()
        found = self.reach(lambda: store.ask(service_name, operation, config, worker=worker_name(), **taken, **args))
        if found is not None:
            self._answered(service_name, found["circuit"], asked_at)
        return found

    def reach(self, work: Callable[[], T]) -> T | None:
        """Do something with Redis; None, and a pause before the next try, when it does not answer."""
        if self.is_alone:
            return None
        try:
            found = work()
        except (redis.RedisError, OSError) as exc:
            self._lost(exc)
            return None
        if self._alone_since is not None:
            self._found_again()
        return found

    def _lost(self, exc: Exception) -> None:
        if self._alone_since is None:
            # Now, not when Redis is back: a call that began alone may report after that, and would leave its state here.
            self.local.forget()
            self._alone_since = time.time()
            log.error("breakers are this process' own: Redis does not answer", extra={"error": type(exc).__name__})
            metrics.increment("hub_circuit_store_lost_total")
        metrics.set_gauge("hub_circuit_store_shared", 0)
        self._missed()  # from here on this process' own count decides, not what was last heard
        self._next_try = time.monotonic() + self._pause_sec
        self._pause_sec = min(self._pause_sec * 2, LONGEST_PAUSE_SEC)

    def _found_again(self) -> None:
        log.warning("breakers are the fleet's again: Redis answers")
        metrics.set_gauge("hub_circuit_store_shared", 1)
        self._alone_since, self._pause_sec = None, FIRST_PAUSE_SEC
        self._missed()

    def _answered(self, service_name: str, circuit: dict[str, Any], asked_at: float) -> None:
        """Take in what Redis answered, unless news that came meanwhile are younger."""
        snapshot, known = snapshots.from_redis(service_name, circuit), self.copies.get(service_name)
        # The time of the question, not of the answer: a clock that is early asks Redis once too often, a late one refuses too long.
        self._offset_ms = snapshot.now_ms - wall_clock_ms() + int((time.monotonic() - asked_at) * 1000)
        if known is None or known.heard_at < asked_at or snapshot.seq >= known.snapshot.seq:
            self._keep(snapshot, asked_at)

    def _told(self, service_name: str, circuit: dict[str, Any]) -> None:
        """Take in news, which may have waited for a while until this process looked."""
        known = self.copies.get(service_name)
        if known is None:
            return
        snapshot = snapshots.from_redis(service_name, circuit)
        if (snapshot.seq, snapshot.now_ms) > (known.snapshot.seq, known.snapshot.now_ms):
            age_sec = max(0, self.now_ms() - snapshot.now_ms) / 1000
            self._keep(snapshot, time.monotonic() - age_sec)

    def _keep(self, snapshot: CircuitSnapshot, heard_at: float) -> None:
        known = self.copies.setdefault(snapshot.service_name, Copy(snapshot, heard_at))
        with known.lock:
            if snapshot.generation != known.snapshot.generation:
                known.good = known.good_slow = known.refusals = 0
            if known.snapshot is not snapshot:
                known.permit = None
            known.snapshot, known.heard_at, known.is_stale = snapshot, heard_at, False
            known.is_quiet = snapshot.is_quiet

    def _missed(self) -> None:
        for copy in list(self.copies.values()):
            copy.is_stale = True

    def _last_known(self, service_name: str) -> CircuitSnapshot | None:
        copy = self.copies.get(service_name)
        return copy.snapshot if copy else None


_fleet = Fleet()


def fleet() -> Fleet:
    """Return this process' part in the fleet."""
    return _fleet


def forget() -> None:
    """Start anew: a forked child must not share its parent's subscription, nor count its results twice."""
    global _fleet
    _fleet = Fleet()


def worker_name() -> str:
    """Return what this process is called in a case file."""
    return f"{os.uname().nodename}:{os.getpid()}"


os.register_at_fork(after_in_child=forget)
