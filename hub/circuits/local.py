"""Breakers of this process alone: the same rules, for the time that Redis is gone."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from hub.circuits import policy, snapshots
from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.policy import Circuit, Verdict
from hub.circuits.snapshots import CircuitSnapshot


class LocalCircuits:
    """State by service name, begun from what was last known of the fleet's."""

    def __init__(self, last_known: Callable[[str], CircuitSnapshot | None], now_ms: Callable[[], int]) -> None:
        self._last_known = last_known
        self._now_ms = now_ms
        self._circuits: dict[str, Circuit] = {}
        self._lock = threading.Lock()

    def admit(self, service_name: str, config: CircuitBreakerConfig, *, probe_id: str, lease_ms: int) -> tuple[int, Verdict]:
        """Decide on a call; return the generation it was admitted in, and the verdict."""
        with self._lock:
            circuit, verdict = policy.admit(self._get(service_name), config, now_ms=self._now_ms(), probe_id=probe_id, lease_ms=lease_ms)
            self._circuits[service_name] = circuit
            return circuit.generation, verdict

    def record(self, service_name: str, config: CircuitBreakerConfig, **result: Any) -> bool:
        """Count a result; tell whether it changed the state."""
        return self._change(
            service_name,
            lambda circuit: policy.record(circuit, config, now_ms=self._now_ms(), jitter=random.random(), **result),  # noqa: S311
        )

    def release(self, service_name: str, *, probe_id: str) -> None:
        """Take back a probe without a result."""
        self._change(service_name, lambda circuit: policy.release(circuit, probe_id=probe_id))

    def snapshot(self, service_name: str, config: CircuitBreakerConfig) -> CircuitSnapshot:
        """Describe the breaker as this process sees it."""
        with self._lock:
            now_ms = self._now_ms()
            circuit = policy.without_expired_force(self._get(service_name), now_ms=now_ms)
        seen = circuit.totals(config, now_ms=now_ms)
        return snapshots.from_circuit(service_name, circuit, ok=seen.ok, failed=seen.failed, slow=seen.slow, now_ms=now_ms)

    def forget(self) -> None:
        """Drop everything: what is known of the fleet's state counts."""
        with self._lock:
            self._circuits.clear()

    def _change(self, service_name: str, change: Callable[[Circuit], Circuit]) -> bool:
        with self._lock:
            before = self._get(service_name)
            after = self._circuits[service_name] = change(before)
            return after.generation != before.generation

    def _get(self, service_name: str) -> Circuit:
        if service_name in self._circuits:
            return self._circuits[service_name]
        known = self._last_known(service_name)
        return known.as_circuit() if known else Circuit(generation=self._now_ms())


def wall_clock_ms() -> int:
    """Return this machine's time in milliseconds."""
    return int(time.time() * 1000)
