"""What a process remembers of a breaker (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.circuits.policy import Circuit, CircuitState


@dataclass(frozen=True, kw_only=True, slots=True)
class CircuitSnapshot:
    """A breaker as it stood at `now_ms`; times in milliseconds of Redis' clock. ``state`` is the one that counts."""

    service_name: str
    state: CircuitState
    generation: int
    failure_count: int
    success_count: int
    openings: int
    open_until_ms: int
    why: str
    rule_state: CircuitState
    """What the rules say, beneath an operator's word."""
    manual_by: str = ""
    manual_why: str = ""
    manual_until_ms: int = 0
    ok: int = 0
    failed: int = 0
    slow: int = 0
    probes: int = 0
    seq: int = 0
    now_ms: int = 0
    overrides: dict[str, Any] = field(default_factory=dict)
    shared: bool = True
    """False when this process speaks for itself alone, because Redis is gone."""

    def get_error_rate(self) -> float:
        """Return the share of failed calls in the window, 0.0 without calls."""
        calls = self.ok + self.failed
        return self.failed / calls if calls else 0.0

    @property
    def is_quiet(self) -> bool:
        """Tell whether nothing is wrong, so that good results may be reported late."""
        return self.rule_state is CircuitState.CLOSED and self.failure_count == 0

    @property
    def admits_all(self) -> bool:
        """Tell whether every call goes through."""
        return self.state in (CircuitState.CLOSED, CircuitState.FORCED_CLOSED, CircuitState.METRICS_ONLY)

    @property
    def refused_until_ms(self) -> int:
        """Return until when every call is refused; 0 when it is not."""
        if self.state is CircuitState.FORCED_OPEN:
            return self.manual_until_ms
        return self.open_until_ms if self.state is CircuitState.OPEN else 0

    def as_circuit(self) -> Circuit:
        """Return the state from which a process without Redis goes on."""
        manual = "" if self.state is self.rule_state else str(self.state)
        return Circuit(
            state=self.rule_state,
            generation=self.generation,
            failures=self.failure_count,
            successes=self.success_count,
            openings=self.openings,
            open_until_ms=self.open_until_ms,
            why=self.why,
            manual=manual,
            manual_until_ms=self.manual_until_ms,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON for screens and the API."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return plain | {"error_rate": round(self.get_error_rate(), 4)}


def from_redis(service_name: str, found: Mapping[str, Any]) -> CircuitSnapshot:
    """Read what `circuit.lua` says of a breaker."""
    return CircuitSnapshot(
        service_name=service_name,
        state=CircuitState(found["manual"] or found["state"]),
        rule_state=CircuitState(found["state"]),
        failure_count=int(found["failures"]),
        success_count=int(found["successes"]),
        why=found["why"],
        manual_by=found["manual_by"],
        manual_why=found["manual_why"],
        overrides=json.loads(found["overrides"] or "{}"),
        generation=int(found["generation"]),
        openings=int(found["openings"]),
        open_until_ms=int(found["open_until_ms"]),
        manual_until_ms=int(found["manual_until_ms"]),
        ok=int(found["ok"]),
        failed=int(found["failed"]),
        slow=int(found["slow"]),
        probes=int(found["probes"]),
        seq=int(found["seq"]),
        now_ms=int(found["now_ms"]),
    )


def from_circuit(service_name: str, circuit: Circuit, *, ok: int, failed: int, slow: int, now_ms: int) -> CircuitSnapshot:
    """Describe a breaker that this process keeps for itself."""
    return CircuitSnapshot(
        service_name=service_name,
        state=circuit.effective,
        rule_state=circuit.state,
        generation=circuit.generation,
        failure_count=circuit.failures,
        success_count=circuit.successes,
        openings=circuit.openings,
        open_until_ms=circuit.open_until_ms,
        why=circuit.why,
        manual_until_ms=circuit.manual_until_ms,
        ok=ok,
        failed=failed,
        slow=slow,
        probes=len(circuit.probes),
        now_ms=now_ms,
        shared=False,
    )
