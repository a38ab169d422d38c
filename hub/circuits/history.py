"""Move what happened to breakers from Redis into rows, once each, whoever does it."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from hub import pruning
from hub.circuits import store
from hub.circuits.fleet import fleet
from hub.circuits.models import CircuitTransition
from hub.circuits.policy import CircuitState
from hub.telemetry import metrics

log = logging.getLogger(__name__)
BATCH = 100
MAX_BATCHES = 50


def record_transitions() -> int:
    """Write transitions that Redis holds into rows and take them off there; return how many were new.

    Several processes may do it at once, and any may die between the two: the stream's id is unique in the table.
    """
    recorded = 0
    for _ in range(MAX_BATCHES):
        entries = fleet().reach(lambda: store.transitions(BATCH))
        if not entries:
            break
        recorded += _insert([_row(entry_id, move) for entry_id, move in entries])
        fleet().reach(lambda ids=[entry_id for entry_id, _ in entries]: store.drop_transitions(ids))  # type: ignore[misc]
    return recorded


def last_move(service_name: str) -> datetime | None:
    """Return when a breaker changed last, as far as that is recorded."""
    return CircuitTransition.objects.filter(service_name=service_name).order_by("-at").values_list("at", flat=True).first()


def expired() -> pruning.Expired:
    """Return the transitions beyond their retention."""
    before = timezone.now() - timedelta(days=settings.HUB.circuit_retention_days)
    return {"circuit_transitions": CircuitTransition.objects.filter(at__lt=before).order_by("at")}


def prune() -> int:
    """Delete transitions beyond their retention; return how many."""
    return sum(pruning.delete_all(expired()).values())


def _insert(rows: list[CircuitTransition]) -> int:
    with transaction.atomic():
        known = set(CircuitTransition.objects.filter(redis_id__in=[row.redis_id for row in rows]).values_list("redis_id", flat=True))
        new = [row for row in rows if row.redis_id not in known]
        CircuitTransition.objects.bulk_create(new, ignore_conflicts=True)
    for row in new:
        _tell(row)
    return len(new)


def _tell(row: CircuitTransition) -> None:
    metrics.increment("hub_circuit_transitions_total", service=row.service_name, state=row.new_state)
    for state in CircuitState:
        metrics.set_gauge("hub_circuit_state", int(row.new_state == state), service=row.service_name, state=str(state))
    log.warning(
        "a breaker changed its state",
        extra={"service": row.service_name, "old": row.old_state, "new": row.new_state, "why": row.why, "trace": row.trace_id},
    )


def _row(entry_id: str, move: dict[str, Any]) -> CircuitTransition:
    extra, case = _object(move.get("extra")), _object(move.get("case"))
    case["failures"] = [json.loads(one) for one in case.get("failures") or []]
    if move["to"] == CircuitState.OPEN:
        case["open_until"] = _moment(move.get("open_until_ms"), iso=True)
    return CircuitTransition(
        redis_id=entry_id,
        service_name=move["service"],
        old_state=move["from"],
        new_state=move["to"],
        why=move["why"],
        by=str(extra.get("by") or "")[:150],
        reason=str(extra.get("reason") or "")[:500],
        until=_moment(extra.get("until_ms")),
        worker=move.get("worker") or "",
        trace_id=move.get("trace_id") or "",
        generation=int(move["generation"]),
        case=case,
        at=_moment(move["at_ms"]),
    )


def _object(value: Any) -> dict[str, Any]:
    """Return a JSON object; an empty table of Lua may come as a list."""
    return dict(value) if isinstance(value, dict) else {}


def _moment(ms: Any, *, iso: bool = False) -> Any:
    if not ms:
        return None
    moment = datetime.fromtimestamp(int(ms) / 1000, UTC)
    return moment.isoformat() if iso else moment
