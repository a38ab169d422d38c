"""What an instance takes with it when it fails: the sagas in flight that call its service, and what the bus sends to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hub.events.models import Subscription
from registry_app.checks import HealthCheckType
from registry_app.convert import check_of
from registry_app.models import Service
from sagas.models import SagaExecution, SagaVersion
from sagas.spec import Call, SagaSpec, from_dict
from sagas.states import ACTIVE

MOST_RUNS, MOST_SUBSCRIPTIONS = 1_000, 5_000
SHOWN = 10
_ACTIVE = sorted(status.value for status in ACTIVE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Radius:
    """`in_flight` counts the runs looked at, a thousand at most; `is_cut` says that there were more."""

    in_flight: int
    sagas: list[tuple[str, int]]
    runs: list[SagaExecution]
    subscriptions: list[Subscription]
    others: int
    is_cut: bool


def radius(row: Service) -> Radius:
    """Return what depends on a service, in four queries."""
    where = {row.service_name, *_queue_of(row)}
    active = SagaExecution.objects.filter(status__in=_ACTIVE).order_by()
    counts = Counter(active.values_list("definition_id", flat=True)[:MOST_RUNS])
    versions = SagaVersion.objects.in_bulk(list(counts))
    touched = {pk: version for pk, version in versions.items() if touches(from_dict(version.snapshot), where)}
    sagas: Counter[str] = Counter()
    for pk, version in touched.items():
        sagas[version.saga_name] += counts[pk]
    others = Service.objects.filter(service_name=row.service_name, deregistered_at=None).exclude(pk=row.pk).count()
    return Radius(
        in_flight=sagas.total(),
        sagas=sagas.most_common(SHOWN),
        runs=_newest(list(touched)) if touched else [],
        subscriptions=[one for one in Subscription.objects.order_by("name")[:MOST_SUBSCRIPTIONS] if {one.service_name, one.queue} & where],
        others=others,
        is_cut=counts.total() >= MOST_RUNS,
    )


def touches(spec: SagaSpec, where: Iterable[str]) -> bool:
    """Tell whether a definition calls one of these services or queues, forward, back or to verify."""
    return any(call.where in where for call in _calls(spec) if call.where)


def _calls(spec: SagaSpec) -> Iterator[Call]:
    for step in spec.steps:
        yield from (call for call in (step.do, step.undo, step.verify) if call)


def _queue_of(row: Service) -> set[str]:
    check = check_of(row)
    return {check.endpoint} if check and check.check_type is HealthCheckType.CELERY and check.endpoint else set()


def _newest(definitions: list[int]) -> list[SagaExecution]:
    rows = SagaExecution.objects.filter(status__in=_ACTIVE, definition__in=definitions)
    return list(rows.only("id", "saga_name", "status").order_by("-created_at")[:SHOWN])
