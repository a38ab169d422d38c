"""Sagas of five steps that do nothing: ours, a plain Celery chain of five, and DBOS."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from celery import chain

from hub.bench import measure, plain
from hub.bench.figures import Sample
from hub.bench.samples import STEPS
from hub.bench.stage import Stage
from sagas import services
from sagas.models import SagaExecution

SAGAS, AT_ONCE, ONE_BY_ONE, PATIENCE_SEC = 200, 50, 30, 120
RESULT_SEC = 30
"""A result of a chain comes within two seconds, or is one of the few that the client never hears of."""
POLL_SEC, POLL_ONE_SEC = 0.02, 0.001
"""How often their rows are looked at: fifty times a second take a fiftieth of a core, which is the bench's own work."""


def hub_many(name: str) -> Callable[[Stage], Sample]:
    """Return the arm that runs many sagas, fifty under way at once, until the last one is completed in its row."""

    def arm(stage: Stage) -> Sample:
        stage.hub()
        run_sagas(name, 10)
        return measure.rate(stage, lambda: run_sagas(name, SAGAS))

    return arm


def run_sagas(name: str, number: int) -> int:
    """Start that many, at most fifty at once, and return when all have completed."""
    given, give_up_at = f"bench-{uuid.uuid4().hex[:8]}", time.monotonic() + PATIENCE_SEC
    completed = SagaExecution.objects.filter(correlation_id=given, status="completed")
    started = ended = 0
    while ended < number:
        if started < number and started - ended < AT_ONCE:
            services.start(name, {}, correlation_id=given)
            started += 1
            if started - ended < AT_ONCE:
                continue
        ended = completed.count()
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{ended} of {number} sagas completed within {PATIENCE_SEC} s")
        time.sleep(POLL_SEC)
    return number


def hub_one(name: str) -> Callable[[Stage], Sample]:
    """Return the arm that runs sagas one after another."""

    def once() -> None:
        execution_id = services.start(name, {})["execution_id"]
        run = SagaExecution.objects.filter(pk=execution_id, status="completed")
        give_up_at = time.monotonic() + PATIENCE_SEC
        while not run.exists():
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"saga {execution_id} is not completed after {PATIENCE_SEC} s")
            time.sleep(POLL_ONE_SEC)

    def arm(stage: Stage) -> Sample:
        stage.hub()
        return measure.latency(stage, once, times=ONE_BY_ONE, warm_up=3)

    return arm


def chain_many(stage: Stage) -> Sample:
    """A stock chain: every link keeps its result, the caller waits for the last one."""
    stage.plain()

    def work() -> int:
        waiting = [_chain() for _ in range(AT_ONCE)]
        for _ in range(SAGAS - AT_ONCE):
            waiting.pop(0).get(timeout=RESULT_SEC)
            waiting.append(_chain())
        for result in waiting:
            result.get(timeout=RESULT_SEC)
        return SAGAS

    return measure.rate(stage, work)


def _chain() -> Any:
    return chain(plain.nothing.si() for _ in range(STEPS)).apply_async()


def chain_one(stage: Stage) -> Sample:
    """The same, one after another."""
    stage.plain()
    return measure.latency(stage, lambda: _chain().get(timeout=RESULT_SEC), times=ONE_BY_ONE, warm_up=3)


def chain_lean(stage: Stage) -> Sample:
    """The leanest chain on the same workers: no link keeps a result, the last one rings a bell."""
    stage.plain()
    key, redis = f"bench-bell-{uuid.uuid4().hex[:8]}", plain.app.backend.client

    def send() -> None:
        chain(*[plain.nothing_kept.si() for _ in range(STEPS - 1)], plain.ring.si(key=key)).apply_async()

    def work() -> int:
        for _ in range(AT_ONCE):
            send()
        for number in range(SAGAS):
            if redis.brpop([key], timeout=2) is None:
                raise TimeoutError(f"{number} of {SAGAS} chains ended, then none for 2 s")
            if number < SAGAS - AT_ONCE:
                send()
        return SAGAS

    return measure.rate(stage, work)


def dbos(at_once: int, number: int) -> Callable[[Stage], Sample]:
    """Return the arm of DBOS on a database of the same kind."""
    return lambda stage: stage.rivals.run("dbos_workflows", os.environ["BENCH_DBOS_URL"], str(number), str(at_once))


def saga_framework(stage: Stage) -> Sample:
    """Sagas of saga-framework, whose worker has two processes as well; Postgres only."""
    return stage.rivals.run("saga_framework_sagas", plain.URL, os.environ["DATABASE_URL"], str(SAGAS), str(AT_ONCE))


ARMS: Mapping[str, Callable[[Stage], Sample]] = {
    "saga": hub_many("bench_five"),
    "saga inline": hub_many("bench_five_inline"),
    "saga, one at a time": hub_one("bench_five"),
    "saga inline, one at a time": hub_one("bench_five_inline"),
    "chain": chain_many,
    "chain, one at a time": chain_one,
    "chain without results": chain_lean,
    "DBOS": dbos(AT_ONCE, SAGAS),
    "saga-framework": saga_framework,
}
