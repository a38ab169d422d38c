"""Look-ups of a service by name among a thousand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.core.cache.backends.locmem import LocMemCache

from hub.bench import measure
from hub.bench.figures import Sample
from hub.bench.stage import Stage
from registry_app import lookup, services
from registry_app.models import Service
from registry_app.values import ServiceInfo

NAMES = 1_000
_cache = LocMemCache("bench", {"OPTIONS": {"MAX_ENTRIES": NAMES * 2}})


def looked_up(stage: Stage) -> Sample:
    """Ours, from the copy in the process."""
    _prepare(stage)
    return measure.calls(stage, lambda: lookup.choose("known_500"))


def by_orm(stage: Stage) -> Sample:
    """A query of Django's for each look-up."""
    _prepare(stage)
    return measure.calls(stage, lambda: Service.objects.get(service_name="known_500"), batch=10)


def by_cache(stage: Stage) -> Sample:
    """Django's cache in the memory of the process."""
    _prepare(stage)
    _cache.set("known_500", {"endpoint": "http://127.0.0.1:1", "status": "healthy"}, timeout=None)
    return measure.calls(stage, lambda: _cache.get("known_500"))


def _prepare(stage: Stage) -> None:
    """Register a thousand services that nobody looks at: what others measure is not to wait for their probes."""
    if not stage.kept.get("thousand"):
        for number in range(NAMES):
            services.register(ServiceInfo.create(f"known_{number}", "1.0.0", f"http://127.0.0.1:{10_000 + number}"))
        Service.objects.filter(service_name__startswith="known_").update(next_probe_at=None)
        stage.kept["thousand"] = True


ARMS: Mapping[str, Callable[[Stage], Sample]] = {"look-up": looked_up, "look-up by ORM": by_orm, "look-up by locmem": by_cache}
