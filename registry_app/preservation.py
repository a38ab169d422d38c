"""Self-preservation: when most services go bad at once, it is more likely the hub that is cut off than they.

What was known of them is kept for a while, nobody is taken out of the registry, and the health summary says so. The
freeze loses its effect after `SelfPreservation.max_freeze_sec`, and ends when most of them answer again.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime

import redis
from django.conf import settings
from django.db.models import Count, Q, QuerySet

from hub import redis_client
from registry_app import rules, state
from registry_app.models import Service
from registry_app.state import Freeze
from registry_app.values import ServiceStatus

log = logging.getLogger(__name__)


def current_policy() -> rules.SelfPreservation:
    """Return when the hub suspects itself, as the settings say."""
    return rules.SelfPreservation(share=settings.HUB.registry_self_preservation_share)


def holds(row: Service, *, failing_since: datetime, at: datetime) -> bool:
    """Tell whether an instance that would fall now keeps its status; begin the freeze if this is what tips the scales."""
    policy, freeze = current_policy(), state.current_freeze()
    since, frozen_from = (freeze.since, freeze.counting_from) if freeze else (None, None)
    counting_from = rules.counted_from(policy, failing_since=failing_since, frozen_since=since, frozen_counting_from=frozen_from, at=at)
    if counting_from is None:
        return False
    watched, failing = _counts(_watched().exclude(pk=row.pk), counting_from)
    if not rules.is_mass_failure(policy, watched=watched + 1, failing=failing + 1):
        return False
    if not _is_on(freeze, at):
        reason = f"{failing + 1} of {watched + 1} services went bad at once; {_control()}"
        _begin(Freeze(since=at, counting_from=counting_from, reason=reason), instead_of=freeze)
    return True


def review() -> None:
    """End the freeze when those who failed are no longer most of all."""
    freeze = state.current_freeze()
    if freeze is None:
        return
    watched, failing = _counts(_watched(), freeze.counting_from)
    if not rules.is_mass_failure(current_policy(), watched=watched, failing=failing) and state.end_freeze():
        log.warning("self-preservation ends", extra={"still_failing": failing})


def fallen_before(*, at: datetime) -> list[Service]:
    """Return who fell in the event that began the freeze which is on: the first of many are believed, for they are few."""
    freeze = state.current_freeze()
    if freeze is None or not _is_on(freeze, at):
        return []
    of_the_event = {"failing_since__gte": freeze.counting_from, "status_since__gte": freeze.counting_from}
    return list(_watched().filter(status=ServiceStatus.UNHEALTHY, status_since__lte=freeze.since, **of_the_event))


def active_reason(*, at: datetime) -> str | None:
    """Say why the hub suspects itself, or return None when it does not (any more)."""
    freeze = state.current_freeze()
    return freeze.reason if freeze and _is_on(freeze, at) else None


def _is_on(freeze: Freeze | None, at: datetime) -> bool:
    return freeze is not None and (at - freeze.since).total_seconds() < current_policy().max_freeze_sec


def _begin(freeze: Freeze, *, instead_of: Freeze | None) -> None:
    if state.begin_freeze(freeze, instead_of=instead_of):
        log.warning("self-preservation begins", extra={"reason": freeze.reason})


def _counts(rows: QuerySet[Service], counting_from: datetime) -> tuple[int, int]:
    """Return how many were well when the counting begins, and how many of those fail now."""
    late = Count("pk", filter=Q(failing_since__gte=counting_from))
    found = rows.aggregate(well=Count("pk", filter=Q(failing_since=None)), failing=late)
    return found["well"] + found["failing"], found["failing"]


def _watched() -> QuerySet[Service]:
    return Service.objects.filter(deregistered_at=None).exclude(check_type="none")


def _control() -> str:
    """Say whether the hub reaches what it is surely connected to: that narrows down whose fault it is."""
    started = time.monotonic()
    try:
        redis_client.client().ping()
    except redis.RedisError as exc:
        return f"the hub's own Redis does not answer either ({type(exc).__name__})"
    return f"the hub's own Redis answers in {(time.monotonic() - started) * 1000:.0f} ms"
