"""Read the history of a service's requests as its breaker saw them, and show it to a breaker with other thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from hub.circuits import breaker, services, verdicts
from hub.circuits.whatif import RecordedCall, replay
from hub.errors import ErrorCode, IntegrationError
from hub.routing.models import RoutedRequest

MAX_REQUESTS = 100_000
MAX_HOURS = 24 * 366
REFUSALS = (str(ErrorCode.BREAKER_OPEN), str(ErrorCode.BREAKER_PROBES_TAKEN), str(ErrorCode.BREAKER_FORCED_OPEN))


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """The calls of some time in the order of their ends; `refused` requests went nowhere, because the breaker was open."""

    calls: Sequence[RecordedCall]
    refused: int
    since: datetime | None
    """The end of the first request that was read: later than what was asked for where there were more than are read."""


def what_if(service_name: str, overrides: dict[str, Any], *, hours: int, limit: int = MAX_REQUESTS) -> dict[str, Any]:
    """Return what the rules in force, and the same with `overrides`, would have done with the calls of the last `hours`.

    The openings, and the calls refused or let through, of `as_is` and of `what_if`. Errors: E11201 to E11203, E11204 name.
    """
    as_is = services.config_of(breaker.check_name(service_name))
    other = as_is.with_overrides(overrides)
    seen = calls(service_name, since=timezone.now() - timedelta(hours=hours), limit=limit)
    return {
        "service_name": service_name,
        "since": seen.since,
        "calls": len(seen.calls),
        "failed": sum(call.ok is False for call in seen.calls),
        "refused": seen.refused,
        "as_is": replay(seen.calls, as_is).as_dict(),
        "what_if": replay(seen.calls, other).as_dict(),
        "changed": overrides,
    }


def calls(service_name: str, *, since: datetime, limit: int = MAX_REQUESTS) -> Recorded:
    """Return the attempts of the newest `limit` routed requests that ended after `since`; calls in `guard` are recorded nowhere."""
    wanted = RoutedRequest.objects.filter(service_name=service_name, created_at__gte=since).order_by("-id")
    rows = list(wanted.values_list("created_at", "duration_ms", "code", "decision")[:limit])[::-1]
    found = [call for ended_at, duration_ms, _, decision in rows for call in _calls(ended_at, duration_ms, decision)]
    refused = sum(code in REFUSALS for _, _, code, _ in rows)
    return Recorded(calls=found, refused=refused, since=rows[0][0] if rows else None)


def _calls(ended_at: datetime, duration_ms: float, decision: dict[str, Any]) -> list[RecordedCall]:
    """Lay the attempts of a request one after another; those without an answer share the time that is not accounted for."""
    attempts = decision.get("attempts") or []
    known_ms = sum(one["waited_ms"] + _answered_ms(one) for one in attempts)
    silent = sum(not _answered_ms(one) for one in attempts)
    share_ms = max(0.0, duration_ms - known_ms) / max(1, silent)
    now_ms, found = ended_at.timestamp() * 1000 - duration_ms, []
    for one in attempts:
        started_ms = now_ms + one["waited_ms"]
        now_ms = started_ms + (_answered_ms(one) or share_ms)
        found.append(RecordedCall(started_ms=round(started_ms), ended_ms=round(now_ms), ok=_verdict(one)))
    return found


def _answered_ms(attempt: dict[str, Any]) -> float:
    return float(attempt["connect_ms"] + attempt["server_ms"])


def _verdict(attempt: dict[str, Any]) -> bool | None:
    """Judge an attempt as the breaker did; what another version recorded says nothing."""
    if not attempt["code"]:
        return True if attempt["outcome"] == "ok" else None
    try:
        return verdicts.judge_code(IntegrationError(attempt["code"]).code, attempt["status_code"]).ok
    except ValueError:
        return None
