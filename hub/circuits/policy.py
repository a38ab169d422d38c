"""How a breaker decides (pure): functions from a circuit, a policy and the time to a circuit.

The same rules stand twice: here, for a process that cannot reach Redis and for the model in the tests, and in
`circuit.lua`, where they run on the state of the fleet. Times are in milliseconds of Redis' clock.

    closed --- failure_threshold failures in a row, or a bad window ---> open
    open ----- its time is over, somebody asks ------------------------> half_open
    half_open  success_threshold good probes --------------------------> closed
    half_open  one bad probe ------------------------------------------> open, for longer
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from hub.circuits.config import SLICES, CircuitBreakerConfig


class CircuitState(StrEnum):
    """How a breaker stands."""

    CLOSED = "closed"
    """Calls go through and are counted."""
    OPEN = "open"
    """Calls are refused until a time."""
    HALF_OPEN = "half_open"
    """A few probes go through and decide."""
    FORCED_OPEN = "forced_open"
    """An operator refuses all calls."""
    FORCED_CLOSED = "forced_closed"
    """An operator lets all calls through."""
    METRICS_ONLY = "metrics_only"
    """All calls go through; what the rules would have done is recorded."""


MANUAL = (CircuitState.FORCED_OPEN, CircuitState.FORCED_CLOSED, CircuitState.METRICS_ONLY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """Calls of one slice of the window; `number` is its place on the time line."""

    number: int
    ok: int = 0
    failed: int = 0
    slow: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Circuit:
    """The state of one breaker."""

    state: CircuitState = CircuitState.CLOSED
    generation: int = 0
    """Grows with each change of state; a result that brings an older one changes nothing."""
    failures: int = 0
    """Failures in a row while closed."""
    successes: int = 0
    """Good probes while half-open."""
    openings: int = 0
    """How often it opened in a row without closing between."""
    open_until_ms: int = 0
    why: str = ""
    """The rule or person that brought this state about."""
    manual: str = ""
    manual_until_ms: int = 0
    window: tuple[Slice, ...] = ()
    probes: tuple[tuple[str, int], ...] = ()
    """(id, end of its lease) of each probe under way."""

    @property
    def effective(self) -> CircuitState:
        """Return the state that counts: an operator's word before the rules'."""
        return CircuitState(self.manual) if self.manual else self.state

    @property
    def is_quiet(self) -> bool:
        """Tell whether nothing is wrong: then a good result is news to nobody and may be reported late."""
        return self.state is CircuitState.CLOSED and self.failures == 0

    def totals(self, config: CircuitBreakerConfig, *, now_ms: int) -> Slice:
        """Return the calls of the whole window."""
        oldest = now_ms // config.slice_ms - SLICES + 1
        seen = [one for one in self.window if one.number >= oldest]
        return Slice(number=oldest, ok=sum(s.ok for s in seen), failed=sum(s.failed for s in seen), slow=sum(s.slow for s in seen))


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether a call may go; a probe carries its id, a refusal the time after which asking again makes sense."""

    admitted: bool
    probe_id: str = ""
    why: str = ""
    retry_after_ms: int = 0


def admit(circuit: Circuit, config: CircuitBreakerConfig, *, now_ms: int, probe_id: str, lease_ms: int) -> tuple[Circuit, Verdict]:
    """Decide on a call: half-open, it gets a lease under `probe_id`, which ends by itself if its holder dies."""
    circuit = without_expired_force(circuit, now_ms=now_ms)
    if circuit.manual == CircuitState.FORCED_OPEN:
        return circuit, Verdict(admitted=False, why="forced_open", retry_after_ms=circuit.manual_until_ms - now_ms)
    if circuit.manual or circuit.state is CircuitState.CLOSED:
        return circuit, Verdict(admitted=True)
    if circuit.state is CircuitState.OPEN:
        if now_ms < circuit.open_until_ms:
            return circuit, Verdict(admitted=False, why="open", retry_after_ms=circuit.open_until_ms - now_ms)
        circuit = _half_open(circuit)
    return _admit_probe(circuit, config, now_ms, probe_id, lease_ms)


def _admit_probe(circuit: Circuit, config: CircuitBreakerConfig, now_ms: int, probe_id: str, lease_ms: int) -> tuple[Circuit, Verdict]:
    if circuit.successes >= config.success_threshold:  # the threshold was lowered meanwhile
        return _fresh(circuit, why="probes_succeeded"), Verdict(admitted=True)
    alive = tuple((one, until) for one, until in circuit.probes if until > now_ms)
    if len(alive) + circuit.successes >= config.probes_wanted or len(alive) >= config.half_open_requests:
        first_end = min(until for _, until in alive)
        return replace(circuit, probes=alive), Verdict(admitted=False, why="probes_taken", retry_after_ms=first_end - now_ms)
    return replace(circuit, probes=(*alive, (probe_id, now_ms + lease_ms))), Verdict(admitted=True, probe_id=probe_id)


def record(
    circuit: Circuit,
    config: CircuitBreakerConfig,
    *,
    generation: int,
    probe_id: str,
    ok: bool,
    slow: bool,
    now_ms: int,
    jitter: float,
    retry_after_ms: int = 0,
) -> Circuit:
    """Count the result of a call that was admitted in `generation`.

    `jitter` (0..1) shortens a repeated opening by up to a tenth, so that many breakers do not knock at once.
    `retry_after_ms` is what the service asked for: the breaker opens for that long and holds nothing else against it.
    """
    circuit = without_expired_force(circuit, now_ms=now_ms)
    if generation != circuit.generation:
        return circuit
    if circuit.manual or circuit.state is CircuitState.CLOSED:
        circuit = _counted(circuit, config, now_ms, ok=int(ok), failed=int(not ok), slow=int(slow))
        circuit = replace(circuit, failures=0 if ok else circuit.failures + 1)
        return circuit if circuit.manual else _judged(circuit, config, now_ms, jitter, retry_after_ms)
    return _probed(circuit, config, probe_id, ok, now_ms, jitter, retry_after_ms)


def record_good(
    circuit: Circuit, config: CircuitBreakerConfig, *, generation: int, ok: int, slow: int, now_ms: int, jitter: float
) -> Circuit:
    """Count good results that a process gathered while the breaker was quiet; they say nothing about the order of failures."""
    circuit = without_expired_force(circuit, now_ms=now_ms)
    if generation != circuit.generation or not ok or not (circuit.manual or circuit.state is CircuitState.CLOSED):
        return circuit
    circuit = _counted(circuit, config, now_ms, ok=ok, failed=0, slow=slow)
    return circuit if circuit.manual else _judged(circuit, config, now_ms, jitter, 0)


def release(circuit: Circuit, *, probe_id: str) -> Circuit:
    """Take a probe back that neither succeeded nor failed."""
    return replace(circuit, probes=tuple(one for one in circuit.probes if one[0] != probe_id))


def force(circuit: Circuit, mode: CircuitState, *, until_ms: int, why: str = "") -> Circuit:
    """Put an operator's word over the rules until a time."""
    return _fresh(circuit, manual=str(mode), manual_until_ms=until_ms, why=why)


def reset(circuit: Circuit, *, why: str = "") -> Circuit:
    """Close the breaker and forget everything, an operator's word included."""
    return _fresh(circuit, why=why)


def without_expired_force(circuit: Circuit, *, now_ms: int) -> Circuit:
    """Return the circuit with an operator's word taken off once its time is over."""
    if circuit.manual and circuit.manual_until_ms <= now_ms:
        return _fresh(circuit, why="force_expired")
    return circuit


def tripped_by(circuit: Circuit, config: CircuitBreakerConfig, *, now_ms: int) -> str:
    """Name the rule by which a closed breaker must open, or nothing."""
    if circuit.failures >= config.failure_threshold:
        return "consecutive_failures"
    seen = circuit.totals(config, now_ms=now_ms)
    calls = seen.ok + seen.failed
    if calls < config.minimum_calls:
        return ""
    if seen.failed >= config.error_rate_threshold * calls:
        return "error_rate"
    return "slow_rate" if seen.slow >= config.slow_rate_threshold * calls else ""


def open_ms(config: CircuitBreakerConfig, *, openings: int, jitter: float) -> int:
    """Return how long the breaker stays open at its n-th opening in a row: exactly the timeout first, then doubled."""
    if openings <= 1:
        return min(int(config.timeout_sec * 1000), config.max_open_ms)
    grown = min(config.timeout_sec * 1000 * 2.0 ** min(openings - 1, 30), config.max_open_ms)
    return int(grown * (1 - 0.1 * jitter))


def _judged(circuit: Circuit, config: CircuitBreakerConfig, now_ms: int, jitter: float, retry_after_ms: int) -> Circuit:
    why = tripped_by(circuit, config, now_ms=now_ms)
    if why:
        return _open(circuit, config, now_ms, jitter, why)
    return _open_softly(circuit, config, now_ms, retry_after_ms) if retry_after_ms else circuit


def _probed(
    circuit: Circuit, config: CircuitBreakerConfig, probe_id: str, ok: bool, now_ms: int, jitter: float, retry_after_ms: int
) -> Circuit:
    if circuit.state is not CircuitState.HALF_OPEN or not any(one == probe_id and until > now_ms for one, until in circuit.probes):
        return circuit
    circuit = release(circuit, probe_id=probe_id)
    if not ok and retry_after_ms:
        return _open_softly(circuit, config, now_ms, retry_after_ms)
    if not ok:
        return _open(circuit, config, now_ms, jitter, "probe_failed")
    circuit = replace(circuit, successes=circuit.successes + 1)
    return _fresh(circuit, why="probes_succeeded") if circuit.successes >= config.success_threshold else circuit


def _counted(circuit: Circuit, config: CircuitBreakerConfig, now_ms: int, *, ok: int, failed: int, slow: int) -> Circuit:
    number = now_ms // config.slice_ms
    kept = tuple(one for one in circuit.window if number - SLICES < one.number < number)
    now = next((one for one in circuit.window if one.number == number), Slice(number=number))
    now = replace(now, ok=now.ok + ok, failed=now.failed + failed, slow=now.slow + slow)
    return replace(circuit, window=(*kept, now))


def _open(circuit: Circuit, config: CircuitBreakerConfig, now_ms: int, jitter: float, why: str) -> Circuit:
    openings = circuit.openings + 1
    return replace(
        circuit,
        state=CircuitState.OPEN,
        generation=circuit.generation + 1,
        openings=openings,
        open_until_ms=now_ms + open_ms(config, openings=openings, jitter=jitter),
        successes=0,
        probes=(),
        why=why,
    )


def _open_softly(circuit: Circuit, config: CircuitBreakerConfig, now_ms: int, retry_after_ms: int) -> Circuit:
    return replace(
        circuit,
        state=CircuitState.OPEN,
        generation=circuit.generation + 1,
        open_until_ms=now_ms + min(retry_after_ms, config.max_open_ms),
        successes=0,
        probes=(),
        why="retry_after",
    )


def _half_open(circuit: Circuit) -> Circuit:
    return replace(circuit, state=CircuitState.HALF_OPEN, generation=circuit.generation + 1, successes=0, probes=(), why="timeout_over")


def _fresh(circuit: Circuit, **changes: Any) -> Circuit:
    return Circuit(generation=circuit.generation + 1, **changes)
