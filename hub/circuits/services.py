"""What operators do with breakers, and the record of what became of them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from hub.circuits import breaker, snapshots, store
from hub.circuits.config import CircuitBreakerConfig, check_overrides
from hub.circuits.defaults import default_config
from hub.circuits.fleet import fleet
from hub.circuits.models import CircuitSetting
from hub.circuits.policy import MANUAL, CircuitState
from hub.circuits.snapshots import CircuitSnapshot
from hub.errors import ErrorCode, IntegrationError
from hub.json_values import storable

DEFAULT_FORCE_SEC = 3_600.0
MAX_FORCE_SEC = 7 * 86_400.0
CLOCK_SKEW_SEC = 5.0
"""A manual state that ends within this is left to end: two clocks may disagree about when."""


_UNTOLD = "what was decided is kept and reaches it when Redis is back; or try again"
_UNTOLD_RESET = "try again when Redis is back: until then nothing but the end of a manual state is kept"


def force(service_name: str, mode: CircuitState, *, by: str, why: str, for_sec: float = DEFAULT_FORCE_SEC) -> CircuitSnapshot:
    """Put a manual state over a breaker, for the whole fleet and for a time; every process sees it at its next call.

    Errors: E11204 name, E11224 not a manual state, E11901 without a name or a reason, E11202 longer than a week,
    E11240 when Redis is gone.
    """
    breaker.check_name(service_name)
    if mode not in MANUAL:
        raise IntegrationError(ErrorCode.BREAKER_TRANSITION_ILLEGAL, f"{mode} is not a manual state")
    by, why = _signed(by, why)
    if not 0 < for_sec <= MAX_FORCE_SEC:
        raise IntegrationError(ErrorCode.BREAKER_TIMEOUT_INVALID, f"a manual state lasts up to {MAX_FORCE_SEC:g} s, not {for_sec:g}")
    until = timezone.now() + timedelta(seconds=for_sec)
    _keep(service_name, mode=str(mode), mode_by=by[:150], mode_why=why[:500], mode_until=until)
    return _tell(service_name, "force", why=str(mode), manual=str(mode), for_ms=int(for_sec * 1000), by=by, reason=why)


def reset(service_name: str, *, by: str, why: str = "reset") -> CircuitSnapshot:
    """Close a breaker and forget what it counted, a manual state included. Errors: E11204, E11240, E11901."""
    breaker.check_name(service_name)
    by, why = _signed(by, why)
    CircuitSetting.objects.filter(service_name=service_name).update(mode="", mode_by="", mode_why="", mode_until=None)
    return _tell(service_name, "reset", why="reset", by=by, reason=why)


def configure(service_name: str, overrides: dict[str, Any]) -> CircuitSnapshot:
    """Override values of the policy for one service, in the whole fleet; E11201 to E11203 for wrong ones."""
    breaker.check_name(service_name)
    given = check_overrides(overrides)
    columns = {name: given.get(name) for name in overrides}
    _keep(service_name, **columns)
    return _push_overrides(CircuitSetting.objects.get(service_name=service_name))


def config_of(service_name: str) -> CircuitBreakerConfig:
    """Return the rules of one service: the default ones with what operators put in their place."""
    row = CircuitSetting.objects.filter(service_name=service_name).first()
    return default_config().with_overrides(row.overrides() if row else {})


def all_states() -> list[CircuitSnapshot]:
    """Return every breaker that the fleet knows, by name; without Redis those that this process has met."""
    names = fleet().reach(_living_names)
    if names is None:
        names = sorted(fleet().copies)
    return [breaker.look(name) for name in names]


def check_shared() -> None:
    """Raise E11240 when this process does not see the breakers of the fleet, and so cannot say how they stand."""
    found = breaker.store_status()
    if not found["shared"]:
        raise IntegrationError(
            ErrorCode.BREAKER_STORE_UNAVAILABLE,
            f"circuit breakers are each process' own since {found['alone_since']}",
            recovery_suggestion="nothing: they are shared again within seconds of Redis' return",
        )


def decided() -> list[CircuitSetting]:
    """Return the manual states in force as operators decided them, by name; known without Redis."""
    return list(CircuitSetting.objects.exclude(mode="").filter(mode_until__gt=timezone.now()).order_by("service_name"))


def restore_lost() -> int:
    """Bring Redis in line with what operators decided, where it lost that or never heard it; return for how many breakers."""
    return sum(_restore(row) for row in CircuitSetting.objects.all())


def _restore(row: CircuitSetting) -> bool:
    seen = breaker.look(row.service_name)
    if not seen.shared:
        return False
    differs = seen.overrides != row.overrides()
    if differs:
        _push_overrides(row)
    return _restore_mode(row, seen) or differs


def _restore_mode(row: CircuitSetting, seen: CircuitSnapshot) -> bool:
    wanted = row.mode if row.is_forced else ""
    current = str(seen.state) if seen.state in MANUAL else ""
    row_left_sec = (row.mode_until - timezone.now()).total_seconds() if row.mode_until else 0.0
    ends_soon = max(row_left_sec if wanted else 0.0, (seen.manual_until_ms - seen.now_ms) / 1000 if current else 0.0) < CLOCK_SKEW_SEC
    if wanted == current or ends_soon:
        return False
    if not wanted:
        _tell(row.service_name, "reset", why="restored", by=row.mode_by, reason="the manual state was taken off")
    else:
        told = {"manual": wanted, "for_ms": int(row_left_sec * 1000), "by": row.mode_by, "reason": row.mode_why}
        _tell(row.service_name, "force", why="restored", **told)
    return True


def _living_names() -> list[str]:
    names = store.names()
    alive = dict(zip(names, store.exists(names), strict=True))
    store.forget_names(name for name, is_there in alive.items() if not is_there)
    return [name for name in names if alive[name]]


def _keep(service_name: str, **columns: Any) -> None:
    with transaction.atomic():
        CircuitSetting.objects.update_or_create(service_name=service_name, defaults=columns)


def _push_overrides(row: CircuitSetting) -> CircuitSnapshot:
    overrides = row.overrides()
    return _tell(row.service_name, "configure", overrides=json.dumps(overrides, sort_keys=True) if overrides else "")


def _tell(service_name: str, operation: str, **args: Any) -> CircuitSnapshot:
    found = fleet().ask(service_name, operation, default_config(), **args)
    # Redis may answer us before it has written to the subscribers. It has done so before it takes the next command, so
    # after this every process finds the news at its next call.
    if found is None or fleet().reach(lambda: store.client().ping()) is None:
        raise IntegrationError(
            ErrorCode.BREAKER_STORE_UNAVAILABLE,
            f"Redis does not answer; {operation} of {service_name} has not reached the fleet",
            recovery_suggestion=_UNTOLD_RESET if operation == "reset" else _UNTOLD,
        )
    return snapshots.from_redis(service_name, found["circuit"])


def _signed(by: str, why: str) -> tuple[str, str]:
    """Return name and reason as every store takes them: one that a table refuses would be held against all transitions behind it."""
    if not by.strip() or not why.strip():
        raise IntegrationError(
            ErrorCode.ARGUMENT_MISSING, "a manual change needs a name and a reason", recovery_suggestion="say who asks, and why"
        )
    return storable(by), storable(why)
