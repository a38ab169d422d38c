"""Records: one durable move of a saga, and spans; each against Django's ORM used plainly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from django.db import transaction
from django.utils import timezone

from hub.bench import measure
from hub.bench.figures import Sample
from hub.bench.stage import Stage
from hub.telemetry import store as spans
from hub.telemetry.models import Span
from hub.telemetry.values import TraceSpan
from sagas import catalog, events, store
from sagas.accept import Request, accept
from sagas.models import SagaExecution, SagaStepExecution, SagaTransition
from sagas.states import Direction

MOVES, BATCH, BATCHES, SINGLES = 100, 100, 10, 200


def moves(stage: Stage) -> Sample:
    """Claim the first step of accepted sagas: each a decision of the machine, saved on its revision with its history."""

    def work(rows: list[SagaExecution]) -> int:
        for row in rows:
            event = events.Claim(step=0, direction=Direction.DO, now=time.time(), limit_sec=30, grace_sec=5)
            store.dispatch(row.pk, event)
        return len(rows)

    with _runs() as rows:
        return measure.rate(stage, lambda: work(rows))


def moves_by_orm(stage: Stage) -> Sample:
    """The same rows by get, save and create, without a machine or a guard."""

    def work(rows: list[SagaExecution]) -> int:
        for row in rows:
            with transaction.atomic():
                run = SagaExecution.objects.get(pk=row.pk)
                step = SagaStepExecution.objects.get(execution=run, index=0)
                run.status, run.revision = "running", run.revision + 1
                run.save()
                step.status, step.lease_until = "running", timezone.now()
                step.save()
                for step_id, old, new in (("", "pending", "running"), ("s0", "pending", "running")):
                    SagaTransition.objects.create(execution=run, at=timezone.now(), step_id=step_id, old=old, new=new)
        return len(rows)

    with _runs() as rows:
        return measure.rate(stage, lambda: work(rows))


@contextmanager
def _runs() -> Iterator[list[SagaExecution]]:
    """Accept runs that nobody is told of; they are gone afterwards, or a sweep would find them and have them run."""
    spec = catalog.find("bench_five", None)
    rows = [accept(spec, Request(context={}))[0] for _ in range(MOVES)]
    try:
        yield rows
    finally:
        SagaExecution.objects.filter(pk__in=[row.pk for row in rows]).delete()


def spans_in_batches(stage: Stage) -> Sample:
    """Spans as the hub stores them."""

    batches = [_spans(BATCH) for _ in range(BATCHES)]

    def work() -> int:
        for batch in batches:
            spans.write(batch)
        return BATCH * BATCHES

    return measure.rate(stage, work)


def spans_one_by_one(stage: Stage) -> Sample:
    """The same rows by ``save()``."""

    values = _spans(SINGLES)

    def work() -> int:
        for value in values:
            Span(
                trace_id=value.trace_id,
                span_id=value.span_id,
                name=value.span_name,
                service=value.service_name,
                start=timezone.now(),
                duration_us=1000,
                attributes=value.attributes,
            ).save(force_insert=True)
        return SINGLES

    return measure.rate(stage, work)


def _spans(number: int) -> list[TraceSpan]:
    now = time.time()
    return [TraceSpan("bench", "L02", start=now, end=now + 0.001, attributes={"hub.saga.name": "bench"}) for _ in range(number)]


ARMS: Mapping[str, Callable[[Stage], Sample]] = {
    "move of a saga": moves,
    "move by ORM": moves_by_orm,
    "spans stored": spans_in_batches,
    "spans by save()": spans_one_by_one,
}
