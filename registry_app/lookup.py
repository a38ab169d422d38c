"""Look-ups for routing: answered from a copy in the process, so that a request pays no database round trip.

The copy is compared with the database's revision at most once per `MAX_STALENESS_SEC`, by one read of one row, and only
rebuilt when the revision moved. So a change is seen within that time by every process; by the process that made it, and
by any that asks for a name it does not know, at once. While the database is away, requests go on with the copy.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import Error as DatabaseError

from hub.errors import ErrorCode, IntegrationError
from registry_app import choice, state
from registry_app.choice import Instance
from registry_app.models import Service
from registry_app.values import ServiceStatus

__all__ = ["MAX_STALENESS_SEC", "Instance", "choose", "find", "forget", "in_flight", "using"]

MAX_STALENESS_SEC = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    revision: str
    by_name: Mapping[str, list[Instance]]
    only_choices: Mapping[str, Instance]
    """Names with one instance that is chosen whatever is asked: most of them, and nothing has to be weighed for those."""


_snapshot: _Snapshot | None = None
_compared_at = float("-inf")
_forgotten = 0
_refreshing = threading.Lock()
_counting = threading.Lock()
_in_flight: Counter[str] = Counter()


def choose(
    service_name: str,
    *,
    prefer_service_id: str | None = None,
    version: str | None = None,
    for_requests: bool = True,
    avoid: Collection[str] = (),
) -> Instance:
    """Choose the instance that the next request to a service goes to.

    `prefer_service_id` wins while that instance is not unhealthy; `version` is a constraint such as ``>=0.2,<1``;
    without `for_requests` an instance that only takes Celery tasks may be chosen too; the ids in `avoid` (those that
    just failed) are chosen only when there is no other.

    Errors: E11020 nobody registered that name, E11024 all instances are in maintenance, E11025 none can take it.
    """
    if version is None and (only := _current().only_choices.get(service_name)):
        return only
    candidates = find(service_name)
    if for_requests:
        candidates = _taking_requests(service_name, candidates)
    candidates = [one for one in candidates if one.service_id not in avoid] or candidates
    now = time.time()
    if prefer_service_id:
        preferred = [one for one in candidates if one.service_id == prefer_service_id and _can_stay(one, now)]
        candidates = preferred or candidates
    return choice.pick(candidates, now=now, in_flight=in_flight, version=version)


def find(service_name: str) -> list[Instance]:
    """Return all registered instances of a service; E11020 when there is none."""
    found = _current().by_name.get(service_name) or _current(at_once=True).by_name.get(service_name)
    if not found:
        raise IntegrationError(
            ErrorCode.SERVICE_NOT_FOUND,
            f"no service {service_name!r:.80} is registered",
            recovery_suggestion="register it, or correct the name",
        )
    return found


@contextmanager
def using(instance: Instance) -> Iterator[None]:
    """Count a request as in flight, for the choice of the next."""
    _count(instance.service_id, 1)
    try:
        yield
    finally:
        _count(instance.service_id, -1)


def _count(service_id: str, change: int) -> None:
    # Adding to a dictionary entry is two steps: without the lock a thread between them would make the count wrong for ever.
    with _counting:
        _in_flight[service_id] += change


def in_flight(service_id: str) -> int:
    """Return how many requests of this process are under way at an instance."""
    return _in_flight[service_id]


def forget() -> None:
    """Compare with the database at the next look-up: this process changed the registry, or a test rolled it back."""
    global _compared_at, _forgotten
    _forgotten += 1
    _compared_at = float("-inf")


def _can_stay(preferred: Instance, now: float) -> bool:
    in_maintenance = preferred.maintenance_until is not None and preferred.maintenance_until > now
    return preferred.status is not ServiceStatus.UNHEALTHY and not in_maintenance


def _taking_requests(service_name: str, found: list[Instance]) -> list[Instance]:
    candidates = [one for one in found if one.takes_requests]
    if not candidates:
        raise IntegrationError(
            ErrorCode.NO_HEALTHY_INSTANCE,
            f"{service_name} takes Celery tasks, not requests",
            recovery_suggestion=f"send_task to the queue of {found[0].endpoint}",
        )
    return candidates


def _current(*, at_once: bool = False) -> _Snapshot:
    snapshot = _snapshot
    if snapshot is not None and not at_once and time.monotonic() - _compared_at < MAX_STALENESS_SEC:
        return snapshot
    # Whoever comes while another thread refreshes goes on with what is there; only the very first must wait.
    if snapshot is not None and not at_once and _refreshing.locked():
        return snapshot
    with _refreshing:
        return _refresh(at_once=at_once)


def _refresh(*, at_once: bool) -> _Snapshot:
    """Compare and rebuild; while the database is away, what was known is used on (but says nothing about unknown names)."""
    global _compared_at
    try:
        return _compare()
    except DatabaseError as exc:
        if _snapshot is None or at_once:
            raise IntegrationError(ErrorCode.REGISTRY_STORE_UNAVAILABLE, f"services cannot be looked up: {exc!r:.150}") from exc
        log.warning("the registry cannot be read: going on with what is known", extra={"error": type(exc).__name__})
        _compared_at = time.monotonic()
        return _snapshot


def _compare() -> _Snapshot:
    global _snapshot, _compared_at
    asked_at, forgotten = time.monotonic(), _forgotten
    revision = state.current_revision()
    if _snapshot is None or _snapshot.revision != revision:
        # The revision was read before the rows: rows that are newer than it only mean one more rebuild.
        _snapshot = _snapshot_of(revision, _load())
    # Another thread may have changed the registry since the revision was read: then look again at the next call.
    _compared_at = asked_at if forgotten == _forgotten else float("-inf")
    return _snapshot


def _snapshot_of(revision: str, by_name: dict[str, list[Instance]]) -> _Snapshot:
    found = {name: choice.only_choice(instances) for name, instances in by_name.items()}
    return _Snapshot(revision, by_name, {name: one for name, one in found.items() if one is not None})


_COLUMNS = (
    "service_id",
    "service_name",
    "service_version",
    "endpoint",
    "status",
    "weight",
    "metadata",
    "tags",
    "check_type",
    "maintenance_until",
)


def _load() -> dict[str, list[Instance]]:
    by_name: dict[str, list[Instance]] = defaultdict(list)
    rows = Service.objects.filter(deregistered_at=None).order_by("service_id").values_list(*_COLUMNS)
    for service_id, name, version, endpoint, status, weight, metadata, tags, check_type, until in rows.iterator():
        instance = Instance(
            service_id=service_id,
            service_name=name,
            service_version=version,
            endpoint=endpoint,
            status=ServiceStatus(status),
            weight=weight,
            metadata=metadata,
            tags=tuple(tags),
            has_check=check_type != "none",
            maintenance_until=until.timestamp() if until else None,
        )
        by_name[name].append(instance)
    return dict(by_name)


def _begin_anew() -> None:
    """A child of a fork gets fresh locks: the parent's may be held by a thread that does not exist here."""
    global _refreshing, _counting
    _refreshing, _counting = threading.Lock(), threading.Lock()
    _in_flight.clear()
    forget()


os.register_at_fork(after_in_child=_begin_anew)
