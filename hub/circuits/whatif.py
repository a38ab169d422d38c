"""What a breaker would have done with calls that were recorded, by other rules (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hub.circuits import policy
from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.policy import Circuit, CircuitState

JITTER = 0.5
"""The middle of what shortens a repeated opening."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedCall:
    """A call that went out; `ok` is None when it says nothing about the service, times are in milliseconds."""

    started_ms: int
    ended_ms: int
    ok: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """One time that the breaker would have opened: when, until when, and by which rule."""

    at_ms: int
    until_ms: int
    why: str


@dataclass(kw_only=True, slots=True)
class Replay:
    """What would have become of the calls: those refused by how they really ended, and the failures that still got through."""

    refused_good: int = 0
    refused_failed: int = 0
    failed_through: int = 0
    openings: list[Opening] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def replay(calls: Sequence[RecordedCall], config: CircuitBreakerConfig) -> Replay:
    """Let a closed breaker with these rules see the calls as they began and ended.

    A call that it refuses tells it nothing. What the real one refused is not among the calls: nobody knows how that would have ended.
    """
    circuit, seen, under_way = Circuit(), Replay(), {}
    for now_ms, number, has_ended in _moments(calls):
        call, before = calls[number], circuit.state
        if not has_ended:
            lease_ms = call.ended_ms - call.started_ms + 1
            circuit, verdict = policy.admit(circuit, config, now_ms=now_ms, probe_id=str(number), lease_ms=lease_ms)
            if verdict.admitted:
                under_way[number] = (circuit.generation, verdict.probe_id)
            _count(seen, call, admitted=verdict.admitted)
        elif number in under_way:
            circuit = _told(circuit, config, call, *under_way.pop(number))
        if circuit.state is CircuitState.OPEN and before is not CircuitState.OPEN:
            seen.openings.append(Opening(at_ms=now_ms, until_ms=circuit.open_until_ms, why=circuit.why))
    return seen


def _moments(calls: Sequence[RecordedCall]) -> list[tuple[int, int, bool]]:
    """Return each beginning and end with its call's number, in the order of time; a call of no length begins before it ends."""
    begun = [(call.started_ms, number, False) for number, call in enumerate(calls)]
    return sorted(begun + [(call.ended_ms, number, True) for number, call in enumerate(calls)])


def _told(circuit: Circuit, config: CircuitBreakerConfig, call: RecordedCall, generation: int, probe_id: str) -> Circuit:
    if call.ok is None:
        return policy.release(circuit, probe_id=probe_id)
    slow = config.slow_call_sec is not None and call.ended_ms - call.started_ms > config.slow_call_sec * 1000
    return policy.record(
        circuit, config, generation=generation, probe_id=probe_id, ok=call.ok, slow=slow, now_ms=call.ended_ms, jitter=JITTER
    )


def _count(seen: Replay, call: RecordedCall, *, admitted: bool) -> None:
    seen.failed_through += admitted and call.ok is False
    seen.refused_good += not admitted and call.ok is True
    seen.refused_failed += not admitted and call.ok is False
