"""When an instance is well: from what was seen to a status, with a reason for each (pure).

1. Thresholds: `failure_threshold` bad findings in a row make it unhealthy, `success_threshold` good ones healthy again.
2. Flap damping as in BGP (RFC 2439): each fall adds 1 to a penalty that halves every `HALF_LIFE_SEC`; the higher it is,
   the more good findings in a row it takes to be healthy again. Meanwhile the instance is degraded: usable, not trusted.
3. An instance without a check is judged by requests alone. Once it is unhealthy it gets none, so after `TRIAL_SEC` it is let in
   on trial, degraded; if it fails again, it is out again.
4. Self-preservation: when most instances go bad at once, the fault is more likely ours; what was known is kept a while.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from hub.json_values import storable
from registry_app.values import ServiceStatus

HALF_LIFE_SEC = 600.0
MAX_PROOF_FACTOR = 16
MAX_REASON = 300
TRIAL_SEC = 60.0


class Verdict(StrEnum):
    """What one witness says."""

    GOOD = "good"
    SLOW = "slow"
    """It works, but not as it should."""
    BAD = "bad"
    SILENT = "silent"
    """Nothing to go by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one witness saw, and why; a conclusive one needs no repetition."""

    verdict: Verdict
    reason: str
    conclusive: bool = False
    took_ms: float | None = None

    def __post_init__(self) -> None:
        # What a peer said is part of it: a TLS alert on a plain port has NUL, which Postgres refuses.
        object.__setattr__(self, "reason", storable(self.reason))


SILENCE = Finding(verdict=Verdict.SILENT, reason="nothing seen yet")


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """How many findings in a row change a status."""

    failure_threshold: int = 3
    success_threshold: int = 1
    trial_after_sec: float | None = None
    """After so long without evidence an unhealthy instance is let in on trial: without a check, only requests could prove it well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """The health of an instance; times in seconds since the epoch."""

    status: ServiceStatus = ServiceStatus.UNKNOWN
    reason: str = "registered, not yet checked"
    successes: int = 0
    failures: int = 0
    slow_answers: int = 0
    penalty: float = 0.0
    penalty_at: float = 0.0
    failing_since: float | None = None


def join(witnesses: Mapping[str, Finding]) -> Finding:
    """Join the evidence: the worst that was seen counts, and every complaint is in the reason.

    The instance's own check (``probe``, or the ``heartbeat`` it promised) outranks what routed requests say: it may be
    only callers who send nonsense, so failing requests alone cannot make it unhealthy while its own check is good.
    """
    speaking = {name: finding for name, finding in witnesses.items() if finding.verdict is not Verdict.SILENT}
    if not speaking:
        return SILENCE
    own_check = speaking.get("probe") or speaking.get("heartbeat")
    if own_check is not None and own_check.verdict is not Verdict.BAD:
        speaking = {name: _at_most_slow(finding) for name, finding in speaking.items()}
    worst = max((finding.verdict for finding in speaking.values()), key=_SEVERITY.index)
    blamed = [f"{name}: {finding.reason}" for name, finding in speaking.items() if finding.verdict is worst]
    conclusive = any(finding.conclusive for finding in speaking.values() if finding.verdict is worst)
    return Finding(verdict=worst, reason="; ".join(blamed)[:MAX_REASON], conclusive=conclusive)


_SEVERITY = [Verdict.SILENT, Verdict.GOOD, Verdict.SLOW, Verdict.BAD]


def _at_most_slow(finding: Finding) -> Finding:
    return replace(finding, verdict=Verdict.SLOW) if finding.verdict is Verdict.BAD else finding


MIN_OUTCOMES = 5
FAILING_SHARE = 0.5


def outcome_finding(*, good: int, failed: int, window_sec: float) -> Finding:
    """Say what routed requests tell about an instance: too few tell nothing, half of them failing is bad."""
    total = good + failed
    if total == 0:
        return SILENCE
    reason = f"{failed} of {total} requests failed within {window_sec:g} s"
    if failed == 0:
        return Finding(verdict=Verdict.GOOD, reason=reason)
    if total < MIN_OUTCOMES:
        return Finding(verdict=Verdict.SILENT, reason=reason)
    return Finding(verdict=Verdict.BAD if failed >= FAILING_SHARE * total else Verdict.GOOD, reason=reason)


def heartbeat_finding(*, age_sec: float | None, ttl_sec: float, registered_for_sec: float) -> Finding:
    """Say what a heartbeat that is due every so often tells; a new instance has one time to live to send its first."""
    if age_sec is None:
        if registered_for_sec < ttl_sec:
            return SILENCE
        return Finding(verdict=Verdict.BAD, reason=f"no heartbeat since it registered {registered_for_sec:.0f} s ago", conclusive=True)
    if age_sec <= ttl_sec:
        return Finding(verdict=Verdict.GOOD, reason=f"last heartbeat {age_sec:.0f} s ago")
    return Finding(verdict=Verdict.BAD, reason=f"last heartbeat {age_sec:.0f} s ago, more than {ttl_sec:g} s", conclusive=True)


def queue_finding(*, length: int, waited_sec: float, limit_sec: float | None) -> Finding:
    """Say what a queue tells: messages that wait longer than the limit make its service slow, not dead."""
    if not length:
        return Finding(verdict=Verdict.GOOD, reason="the queue is empty")
    reason = f"{length} messages wait, the oldest for at least {waited_sec:.0f} s"
    if limit_sec is None or waited_sec <= limit_sec:
        return Finding(verdict=Verdict.GOOD, reason=reason)
    return Finding(verdict=Verdict.SLOW, reason=f"{reason}, more than {limit_sec:g} s")


def judge(health: Health, finding: Finding, thresholds: Thresholds, *, now: float) -> Health:
    """Return the health after a finding."""
    match finding.verdict:
        case Verdict.BAD:
            return _failed(health, finding, thresholds, now=now)
        case Verdict.GOOD | Verdict.SLOW:
            return _answered(health, finding, thresholds, now=now)
        case _:
            return _unseen(health, thresholds, now=now)


def _unseen(health: Health, thresholds: Thresholds, *, now: float) -> Health:
    """Silence changes nothing, but for whom it would last for ever."""
    after_sec = thresholds.trial_after_sec
    if after_sec is None or health.status is not ServiceStatus.UNHEALTHY or now - health.penalty_at < after_sec:
        return health
    reason = f"on trial: nothing was seen of it for {after_sec:g} s or more since {health.reason}"[:MAX_REASON]
    return replace(health, status=ServiceStatus.DEGRADED, reason=reason, failures=0, failing_since=None)


def _failed(health: Health, finding: Finding, thresholds: Thresholds, *, now: float) -> Health:
    failures = health.failures + 1
    seen = replace(health, failures=failures, successes=0, slow_answers=0, failing_since=health.failing_since or now)
    if health.status is ServiceStatus.UNHEALTHY:
        return replace(seen, reason=finding.reason)
    if failures < thresholds.failure_threshold and not finding.conclusive:
        return seen
    # Being found dead for the first time is no flap: only what was usable can fall.
    fell = 0.0 if health.status is ServiceStatus.UNKNOWN else 1.0
    penalty = penalty_now(health, now=now) + fell
    return replace(seen, status=ServiceStatus.UNHEALTHY, reason=finding.reason, penalty=penalty, penalty_at=now)


def _answered(health: Health, finding: Finding, thresholds: Thresholds, *, now: float) -> Health:
    slow = finding.verdict is Verdict.SLOW
    seen = replace(
        health,
        successes=health.successes + 1,
        failures=0,
        slow_answers=health.slow_answers + 1 if slow else 0,
        failing_since=None,
    )
    if seen.successes < thresholds.success_threshold and health.status in (ServiceStatus.UNHEALTHY, ServiceStatus.UNKNOWN):
        return seen
    needed = proofs_needed(seen, thresholds, now=now)
    if seen.successes < needed and health.status is not ServiceStatus.HEALTHY:
        return replace(seen, status=ServiceStatus.DEGRADED, reason=_on_probation(seen, needed, now=now))
    if slow and (health.status is not ServiceStatus.HEALTHY or seen.slow_answers >= thresholds.failure_threshold):
        return replace(seen, status=ServiceStatus.DEGRADED, reason=finding.reason)
    if slow:
        return seen
    return replace(seen, status=ServiceStatus.HEALTHY, reason=finding.reason)


def _on_probation(health: Health, needed: int, *, now: float) -> str:
    return f"it flaps (penalty {penalty_now(health, now=now):.1f}): {health.successes} of {needed} good checks in a row"


def penalty_now(health: Health, *, now: float) -> float:
    """Return the flap penalty after its decay; it halves every `HALF_LIFE_SEC`."""
    age = max(0.0, now - health.penalty_at)
    return health.penalty * float(0.5 ** (age / HALF_LIFE_SEC))


def proofs_needed(health: Health, thresholds: Thresholds, *, now: float) -> int:
    """Return how many good findings in a row make the instance healthy; a first fall costs nothing extra."""
    doublings = max(0, round(penalty_now(health, now=now)) - 1)
    return int(thresholds.success_threshold * min(MAX_PROOF_FACTOR, 2**doublings))


def should_leave(health: Health, *, deregister_after: int) -> bool:
    """Tell whether the instance failed so often in a row that it leaves the registry."""
    return 0 < deregister_after <= health.failures and health.status is ServiceStatus.UNHEALTHY


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfPreservation:
    """When the hub suspects itself, and for how long it does."""

    share: float = 0.5
    minimum: int = 5
    window_sec: float = 60.0
    max_freeze_sec: float = 300.0


def is_mass_failure(policy: SelfPreservation, *, watched: int, failing: int) -> bool:
    """Tell whether so many of the instances that were well fail at once that one cause must be behind it."""
    return failing >= policy.minimum and failing > policy.share * watched


def counted_from(
    policy: SelfPreservation, *, failing_since: datetime, frozen_since: datetime | None, frozen_counting_from: datetime | None, at: datetime
) -> datetime | None:
    """Return from when on failures belong to one event with this one; None when the evidence is to be believed.

    A freeze loses its effect after `max_freeze_sec`, or dead ones would stay for ever: what began before that is believed,
    and only failures after it can begin another.
    """
    earliest = failing_since - timedelta(seconds=policy.window_sec)
    if frozen_since is None:
        return earliest
    spent_at = frozen_since + timedelta(seconds=policy.max_freeze_sec)
    if at < spent_at:
        return frozen_counting_from
    return max(earliest, spent_at) if failing_since >= spent_at else None


def held(before: Health, after: Health) -> Health:
    """Keep the status as it was while the hub suspects itself; the counters go on."""
    reason = f"held at {before.status}: {after.reason}"[:MAX_REASON]
    return replace(after, status=before.status, reason=reason, penalty=before.penalty, penalty_at=before.penalty_at)
