"""Which instance gets a request: version, then health, weight and load (pure)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from hub.errors import ErrorCode, IntegrationError
from registry_app.values import ServiceStatus

# An instance that limps gets a quarter of its share: enough to see it recover, too little to drown it.
TRUST = {ServiceStatus.HEALTHY: 1.0, ServiceStatus.UNKNOWN: 0.5, ServiceStatus.DEGRADED: 0.25, ServiceStatus.UNHEALTHY: 0.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """An instance as routing sees it; `last_resort` says that none was well and this one was tried all the same."""

    service_id: str
    service_name: str
    service_version: str
    endpoint: str
    status: ServiceStatus
    weight: int = 100
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    has_check: bool = True
    maintenance_until: float | None = None
    last_resort: bool = False

    @property
    def share(self) -> float:
        """Return how much of the traffic it should get, relative to the others."""
        trust = 1.0 if self.status is ServiceStatus.UNKNOWN and not self.has_check else TRUST[self.status]
        return self.weight * trust

    @property
    def takes_requests(self) -> bool:
        """Tell whether HTTP requests can go there; an instance that is a Celery queue takes tasks only."""
        return self.endpoint.startswith(("http://", "https://"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON, as ``hub.registry.lookup`` answers it."""
        return {
            "service_id": self.service_id,
            "service_name": self.service_name,
            "service_version": self.service_version,
            "endpoint": self.endpoint,
            "status": self.status.value,
            "metadata": self.metadata,
            "tags": list(self.tags),
            "last_resort": self.last_resort,
        }


def pick(
    instances: Sequence[Instance],
    *,
    now: float,
    in_flight: Callable[[str], int],
    version: str | None = None,
    draw: random.Random | None = None,
) -> Instance:
    """Choose one of a service's instances.

    Two are drawn by their shares and the one with less in flight for its share wins: as even as least-in-flight over
    all, but without a stampede on whoever is idle at that moment. With one instance left there is nothing to draw.

    Errors: E11024 all are in maintenance, E11025 none has a fitting version.
    """
    open_ones = [one for one in instances if not one.maintenance_until or one.maintenance_until <= now]
    if not open_ones:
        raise _all_closed(instances[0].service_name)
    fitting = matching(open_ones, version)
    usable = [one for one in fitting if one.share > 0]
    if usable:
        return _better_of_two(usable, in_flight, draw or _RANDOM)
    return replace(_better_of_two(fitting, in_flight, draw or _RANDOM), last_resort=True)


def only_choice(instances: Sequence[Instance]) -> Instance | None:
    """Return the one instance that every request without a version goes to, whatever else is asked or under way; None if it depends."""
    one = instances[0]
    is_sure = len(instances) == 1 and one.takes_requests and one.share > 0 and one.maintenance_until is None
    return one if is_sure else None


_RANDOM = random.Random()  # noqa: S311  (spreads load, guards nothing)


def _better_of_two(candidates: Sequence[Instance], in_flight: Callable[[str], int], draw: random.Random) -> Instance:
    if len(candidates) == 1:
        return candidates[0]
    first, second = draw.choices(candidates, weights=[_share(one) for one in candidates], k=2)
    # On a tie the first stands, so that with little load the traffic follows the shares.
    return second if in_flight(second.service_id) / _share(second) < in_flight(first.service_id) / _share(first) else first


def _share(one: Instance) -> float:
    return one.share or one.weight


def matching(instances: Sequence[Instance], version: str | None) -> list[Instance]:
    """Return the instances whose version fits a constraint such as ``>=0.2,<1``; E11025 when none does, E11002 when it cannot be read."""
    if version is None:
        return list(instances)
    wanted = read_constraint(version)
    found = [one for one in instances if wanted.contains(one.service_version, prereleases=True)]
    if not found:
        known = ", ".join(sorted({one.service_version for one in instances}))
        raise IntegrationError(
            ErrorCode.NO_HEALTHY_INSTANCE, f"no instance of {instances[0].service_name} has a version {version} (there are {known})"
        )
    return found


def read_constraint(version: object) -> SpecifierSet:
    """Read a version constraint; E11002 when it is malformed."""
    try:
        if isinstance(version, str):
            return SpecifierSet(version)
    except InvalidSpecifier:
        pass
    raise IntegrationError(
        ErrorCode.SERVICE_VERSION_INVALID,
        f"not a version constraint: {version!r:.80}",
        recovery_suggestion="write one such as >=0.2,<1",
    )


def _all_closed(service_name: str) -> IntegrationError:
    return IntegrationError(
        ErrorCode.SERVICE_DISABLED,
        f"every instance of {service_name} is in maintenance",
        recovery_suggestion="wait for its end, or end it in the admin",
    )
