"""Which sagas a person asks for most: each preset is one condition that an index serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from sagas.states import ACTIVE, SagaStatus

OVERDUE = timedelta(seconds=30)
"""A saga is stuck when nobody came by this long after the sweeper should have,"""
BLOCKED = timedelta(minutes=1)
"""or when its work could not begin for this long."""

_ACTIVE = sorted(status.value for status in ACTIVE)
_GOING = [SagaStatus.PENDING.value, SagaStatus.RUNNING.value, SagaStatus.COMPENSATING.value]
_TURNED_BACK = [SagaStatus.FAILED.value, SagaStatus.NEEDS_OPERATOR.value, SagaStatus.COMPENSATED.value]


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A name for the address, one for people, and the condition at a moment."""

    name: str
    label: str
    condition: Callable[[datetime], Q]


def _is_stuck(now: datetime) -> Q:
    return Q(status__in=_ACTIVE, next_wake_at__lt=now - OVERDUE) | Q(status__in=_ACTIVE, blocked_at__lt=now - BLOCKED)


def _failed_today(now: datetime) -> Q:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return Q(finished_at__gte=midnight, status__in=_TURNED_BACK)


_ALL = (
    Preset(name="needs-operator", label="Needs an operator", condition=lambda now: Q(status=SagaStatus.NEEDS_OPERATOR.value)),
    Preset(name="stuck", label="Stuck", condition=_is_stuck),
    Preset(name="failed-today", label="Failed today", condition=_failed_today),
    Preset(name="running", label="Running", condition=lambda now: Q(status__in=_GOING)),
    Preset(name="waiting", label="Waiting", condition=lambda now: Q(status=SagaStatus.WAITING.value)),
)
PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in _ALL}
