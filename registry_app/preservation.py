"""Self-preservation: when most services go bad at once, it is more likely the hub that is cut off than they.

What was known of them is kept for a while, nobody is taken out of the registry, and the health summary says so. The
freeze loses its effect after `SelfPreservation.max_freeze_sec`, and ends when most of them answer again.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

import redis
from django.conf import settings
from django.db.models import QuerySet

from hub import redis_client
from registry_app import rules, state
from registry_app.models import Service
from registry_app.state import Freeze

log = logging.getLogger(__name__)


def current_policy() -> rules.SelfPreservation:
    """Return when the hub suspects itself, as the settings say."""
    return rules.SelfPreservation(share=settings.HUB.registry_self_preservation_share)


def holds(row: Service, *, failing_since: datetime, at: datetime) -> bool:
    """Tell whether an instance that would fall now keeps its status; begin the freeze if this is what tips the scales."""
    policy, freeze = current_policy(), state.current_freeze()
    counting_from = freeze.counting_from if freeze else failing_since - timedelta(seconds=policy.window_sec)
    failing = _watched().filter(failing_since__gte=counting_from).exclude(pk=row.pk).count() + 1
    watched = _watched().count()
    if not rules.suspects_itself(policy, watched=watched, failing=failing, frozen_for=_frozen_for(freeze, at)):
        return False
    if freeze is None:
        _begin(Freeze(since=at, counting_from=counting_from, reason=f"{failing} of {watched} services went bad at once; {_control()}"))
    return True


def review(*, at: datetime) -> None:
    """End the freeze when those who failed are no longer most of all."""
    freeze = state.current_freeze()
    if freeze is None:
        return
    failing = _watched().filter(failing_since__gte=freeze.counting_from).count()
    if not rules.is_mass_failure(current_policy(), watched=_watched().count(), failing=failing) and state.end_freeze():
        log.warning("self-preservation ends", extra={"still_failing": failing})


def active_reason(*, at: datetime) -> str | None:
    """Say why the hub suspects itself, or return None when it does not (any more)."""
    freeze = state.current_freeze()
    if freeze is None or (at - freeze.since).total_seconds() >= current_policy().max_freeze_sec:
        return None
    return freeze.reason


def _frozen_for(freeze: Freeze | None, at: datetime) -> float | None:
    return (at - freeze.since).total_seconds() if freeze else None


def _begin(freeze: Freeze) -> None:
    if state.begin_freeze(freeze):
        log.warning("self-preservation begins", extra={"reason": freeze.reason})


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
