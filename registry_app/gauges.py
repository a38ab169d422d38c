"""What ``/metrics`` says of the registry as it stands.

Told with every tick, not with every change: of two processes that count at one time the older count may arrive last, and a
Redis that was started anew knows none. Only the next telling puts that right.
"""

from __future__ import annotations

from datetime import datetime

from django.db.models import Count, Min

from hub.telemetry import metrics
from registry_app.models import Service
from registry_app.values import ServiceStatus


def tell(*, now: datetime) -> None:
    """Tell how many instances stand how, and for how long the one that is due longest waits to be looked at."""
    counts = dict(Service.objects.filter(deregistered_at=None).order_by().values_list("status").annotate(Count("pk")))
    for status in ServiceStatus:
        metrics.set_gauge("hub_services", counts.get(status.value, 0), status=status.value)
    due_since = Service.objects.filter(next_probe_at__lte=now).aggregate(since=Min("next_probe_at"))["since"]
    metrics.set_gauge("hub_registry_probe_lag_seconds", (now - due_since).total_seconds() if due_since else 0.0)
