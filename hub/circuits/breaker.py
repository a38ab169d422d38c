"""Ask a breaker before a call, and tell it afterwards.

    permit = breaker.admit("L04_model_gateway")         # CircuitOpen when the call must not go
    ...
    breaker.report(permit, ok=True, duration_sec=0.2)

Usually one uses `execute`, or what `hub.circuits.guards` offers. No lock is held during the call.
"""

from __future__ import annotations

import json
import math
import random
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from hub.circuits import snapshots, store, turns, verdicts
from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.defaults import default_config
from hub.circuits.fleet import Copy, Permit, fleet, worker_name
from hub.circuits.policy import Verdict
from hub.circuits.snapshots import CircuitSnapshot
from hub.errors import CircuitOpen, ErrorCode, IntegrationError
from hub.telemetry import metrics, tracing

P = ParamSpec("P")
R = TypeVar("R")

LEASE_SEC = 60.0
"""How long a probe may take before its permit goes to another one, unless the caller knows better."""
FORCED_LOOK_SEC = 30.0
"""Ask again after this long at the latest: an operator may take a word back before its time."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,127}")
_REFUSALS = {
    "open": ErrorCode.BREAKER_OPEN,
    "probes_taken": ErrorCode.BREAKER_PROBES_TAKEN,
    "forced_open": ErrorCode.BREAKER_FORCED_OPEN,
}


def admit(
    service_name: str,
    config: CircuitBreakerConfig | None = None,
    *,
    lease_sec: float = LEASE_SEC,
    patience_sec: float = turns.LONGEST_SEC,
) -> Permit:
    """Return leave for one call; report its result within `lease_sec`, should it be a probe.

    After a failure here it may wait for up to `patience_sec`, so that calls under way elsewhere report first.

    Errors (CircuitOpen, with ``retry_after_sec``): E11220 open, E11221 probes taken, E11223 forced open.
    E11204 for a malformed name, E11260 when there are too many breakers.
    """
    here = fleet()
    here.hear()
    copy = here.fresh(service_name)
    if copy is not None:
        if copy.permit is not None and copy.permit_config is config:
            return copy.permit
        if copy.snapshot.admits_all and not turns.wait(here, copy, at_most_sec=patience_sec):
            return _permit_for_all(copy, config)
        if copy.now_ms() < copy.snapshot.refused_until_ms:
            raise _refused(service_name, _state_verdict(copy), copy)
    return _admit_slowly(service_name, _effective(config, here.copies.get(service_name)), lease_sec)


def answers_from_memory(service_name: str) -> bool:
    """Tell whether `admit` would decide without asking Redis, so that an event loop may call it."""
    copy = fleet().fresh(service_name)
    if copy is None or not fleet().is_listening:
        return False
    return (copy.snapshot.admits_all and not turns.is_to_wait(copy)) or copy.now_ms() < copy.snapshot.refused_until_ms


def is_news(permit: Permit, *, ok: bool) -> bool:
    """Tell whether reporting this result would ask Redis."""
    copy = fleet().copies.get(permit.service_name)
    return not (ok and not permit.probe_id and permit.is_shared and copy is not None and copy.snapshot.is_quiet)


def report(
    permit: Permit,
    *,
    ok: bool,
    error: str | None = None,
    duration_sec: float = 0.0,
    retry_after_sec: float | None = None,
) -> bool:
    """Tell how a call ended; return whether that changed the breaker's state here.

    A good result while nothing is wrong is only counted, and told to the fleet within a second or so.
    """
    slow = permit.config.slow_call_sec is not None and duration_sec > permit.config.slow_call_sec
    if ok and _counted_here(permit, slow=slow):
        return False
    result = {"generation": permit.generation, "probe_id": permit.probe_id, "ok": ok, "slow": slow}
    result["retry_after_ms"] = 0 if ok or not retry_after_sec else int(retry_after_sec * 1000)
    if not permit.is_shared:
        return fleet().local.record(permit.service_name, permit.config, **result)
    return _record(permit, result, error, duration_sec)


def release(permit: Permit) -> None:
    """Give a permit back for a call that says nothing about the service."""
    if not permit.probe_id:
        return
    if permit.is_shared:
        fleet().ask(permit.service_name, "release", permit.config, probe_id=permit.probe_id)
    else:
        fleet().local.release(permit.service_name, probe_id=permit.probe_id)


def settle(permit: Permit, judgement: verdicts.Judgement, *, duration_sec: float) -> bool:
    """Report a call by what was judged of it; return whether that changed the breaker's state here."""
    if judgement.ok is None:
        release(permit)
        return False
    return report(permit, ok=judgement.ok, error=judgement.error, duration_sec=duration_sec, retry_after_sec=judgement.retry_after_sec)


def execute(service_name: str, func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `func` under the breaker of a service, with the default policy; what it raises is judged and goes on.

    Errors: those of `admit`.
    """
    permit, started = admit(service_name), time.monotonic()
    try:
        result = func(*args, **kwargs)
    except BaseException as exc:
        settle(permit, verdicts.judge(exc), duration_sec=time.monotonic() - started)
        raise
    if permit.config.slow_call_sec is not None or not _counted_here(permit, slow=False):
        report(permit, ok=True, duration_sec=time.monotonic() - started)
    return result


def look(service_name: str, config: CircuitBreakerConfig | None = None) -> CircuitSnapshot:
    """Return how a breaker stands, without changing it."""
    check_name(service_name)
    # This process's good results go along, and are judged by the policy that its calls are made with.
    copy = fleet().copies.get(service_name)
    policy = config or (copy.permit_config if copy else None) or default_config()
    found = fleet().ask(service_name, "look", policy)
    if found is None:
        return fleet().local.snapshot(service_name, policy)
    return snapshots.from_redis(service_name, found["circuit"])


def store_status() -> dict[str, Any]:
    """Tell whether this process shares its breakers with the fleet, and since when not (ISO 8601); for ``/readyz``."""
    since = alone_since()
    return {"shared": since is None, "alone_since": None if since is None else since.isoformat()}


def alone_since() -> datetime | None:
    """Return since when this process does not reach Redis; None when it does."""
    fleet().reach(lambda: store.client().ping())
    since = fleet().alone_since
    return None if since is None else datetime.fromtimestamp(since, UTC)


def check_name(service_name: object) -> str:
    """Return a well-formed breaker name; E11204 for any other."""
    if not isinstance(service_name, str) or not _NAME.fullmatch(service_name):
        raise IntegrationError(ErrorCode.BREAKER_NAME_INVALID, f"not a breaker name: {service_name!r:.80}")
    return service_name


def _permit_for_all(copy: Copy, config: CircuitBreakerConfig | None) -> Permit:
    """Make the permit that every caller gets until news arrive: making one costs more than all else here."""
    snapshot = copy.snapshot
    permit = Permit(snapshot.service_name, snapshot.generation, _effective(config, copy))
    with copy.lock:
        if copy.snapshot is snapshot and not turns.is_to_wait(copy):
            copy.permit, copy.permit_config = permit, config
    return permit


def _effective(config: CircuitBreakerConfig | None, copy: Copy | None) -> CircuitBreakerConfig:
    """Return the caller's policy, or the default, with the operator's values over it."""
    policy = config or default_config()
    return policy.with_overrides(copy.snapshot.overrides) if copy else policy


def _admit_slowly(service_name: str, config: CircuitBreakerConfig, lease_sec: float) -> Permit:
    check_name(service_name)
    here, probe_id, lease_ms = fleet(), secrets.token_hex(8), int(lease_sec * 1000)
    about = {"jitter": random.random(), "trace_id": tracing.trace_id() or ""}  # noqa: S311
    found = here.ask(service_name, "admit", config, probe_id=probe_id, lease_ms=lease_ms, **about)
    if found is None:
        generation, verdict = here.local.admit(service_name, config, probe_id=probe_id, lease_ms=lease_ms)
    else:
        generation, verdict = found["circuit"]["generation"], _verdict(found)
    if not verdict.admitted:
        raise _refused(service_name, verdict, here.copies.get(service_name))
    return Permit(service_name, generation, config, verdict.probe_id, found is not None)


def _verdict(found: dict[str, Any]) -> Verdict:
    names = ("admitted", "probe_id", "why", "retry_after_ms")
    return Verdict(**{name: found[name] for name in names if name in found})


def _state_verdict(copy: Copy) -> Verdict:
    snapshot = copy.snapshot
    return Verdict(admitted=False, why=str(snapshot.state), retry_after_ms=snapshot.refused_until_ms - copy.now_ms())


def _refused(service_name: str, verdict: Verdict, copy: Copy | None) -> CircuitOpen:
    code = _REFUSALS[verdict.why]
    longest_sec = FORCED_LOOK_SEC if code is ErrorCode.BREAKER_FORCED_OPEN else math.inf
    retry_after_sec = min(max(0.0, verdict.retry_after_ms / 1000), longest_sec) + _place_in_ramp(copy)
    metrics.increment("hub_circuit_refused_total", service=service_name)
    return CircuitOpen(
        code,
        f"{service_name}: {code.text}",
        {"why": copy.snapshot.manual_why or copy.snapshot.why} if copy else {},
        f"ask again in {retry_after_sec:.1f} s",
        retry_after_sec=round(retry_after_sec, 3),
    )


def _place_in_ramp(copy: Copy | None) -> float:
    """Return extra seconds, so that what was refused together does not come back together.

    The n-th caller of this process waits log2(n) longer: when the breaker closes, waiting work comes back as 1, 2, 4, 8,
    ... per second rather than as a stampede on a service that has just recovered.
    """
    if copy is None:
        return 0.0
    with copy.lock:
        copy.refusals += 1
        return math.log2(copy.refusals)


def _counted_here(permit: Permit, *, slow: bool) -> bool:
    """Count a good result that is no news to the fleet, and tell whether that is all there is to do."""
    if permit.probe_id or not permit.is_shared:
        return False
    copy = fleet().copies.get(permit.service_name)
    if copy is None or not copy.is_quiet:
        return False
    with copy.lock:
        if copy.snapshot.generation == permit.generation:
            copy.good += 1
            copy.good_slow += slow
    return True


def _record(permit: Permit, result: dict[str, Any], error: str | None, duration_sec: float) -> bool:
    failure = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "worker": worker_name(),
        "error": error or "failed",
        "duration_ms": round(duration_sec * 1000, 1),
        "trace_id": tracing.trace_id() or "",
    }
    found = fleet().ask(
        permit.service_name,
        "record",
        permit.config,
        jitter=random.random(),  # noqa: S311
        failure=json.dumps(failure),
        trace_id=failure["trace_id"],
        **result,
    )
    if found is None:
        return fleet().local.record(permit.service_name, permit.config, **result)
    if not result["ok"] and (copy := fleet().copies.get(permit.service_name)):
        turns.failed(copy, duration_sec)
    return bool(found["moved"])
