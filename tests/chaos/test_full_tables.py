"""Ten thousand finished sagas in the tables: one more costs what it cost when they were empty."""

from __future__ import annotations

import re
import time
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from sagas import accept, catalog, engine, recovery, store
from sagas.models import SagaExecution, SagaStepExecution, SagaTransition
from sagas.states import Direction

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

FINISHED = 10_000
ROUNDS = 15


def run_one():
    """Accept a saga and run its three steps here; return its id."""
    request = accept.Request(context={"plan": {}}, idempotency_key=str(uuid.uuid4()))
    row, _ = accept.accept(catalog.find("three_steps"), request)
    for index in range(3):
        engine.perform(str(row.pk), index, Direction.DO)
    return row.pk


def cost():
    """Return how many queries one run makes, and the processor seconds of a quick one: a busy machine does not count."""
    run_one()
    with CaptureQueriesContext(connection) as queries:
        assert SagaExecution.objects.get(pk=run_one()).status == "completed"
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        run_one()
        times.append(time.process_time() - began)
    return len(queries), min(times)


def fill(template):
    """Write as many finished runs as asked, each with its steps and its history."""
    ended = timezone.now() - timedelta(hours=1)
    ids = [uuid.uuid4() for _ in range(FINISHED)]
    common = {"definition": template.definition, "saga_name": template.saga_name, "status": "completed", "deadline_at": ended}
    times = {"created_at": ended, "started_at": ended, "finished_at": ended}
    SagaExecution.objects.bulk_create([SagaExecution(id=pk, **common, **times) for pk in ids], batch_size=2_000)
    steps = [
        SagaStepExecution(execution_id=pk, index=index, step_id=name, step_name=name, status="completed", output={}, started_seq=index)
        for pk in ids
        for index, name in enumerate("abc")
    ]
    SagaStepExecution.objects.bulk_create(steps, batch_size=2_000)
    moves = [SagaTransition(execution_id=pk, at=ended, step_id=name, old="running", new="completed") for pk in ids for name in "abc"]
    SagaTransition.objects.bulk_create(moves, batch_size=2_000)


def sweep_queries():
    with CaptureQueriesContext(connection) as queries:
        assert recovery.sweep().looked_at == 0
    return [query["sql"] for query in queries]


def plan_of(sql):
    """Return how the database would find the rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' if connection.vendor == 'sqlite' else ''}{sql}")
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


@pytest.mark.timeout(300)
def test_ten_thousand_finished_sagas_cost_the_next_one_nothing(record_property):
    template = SagaExecution.objects.select_related("definition").get(pk=run_one())
    (queries, seconds), sweeps = cost(), len(sweep_queries())

    fill(template)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")

    queries_full, seconds_full = cost()
    record_property("ratio", round(seconds_full / seconds, 3))
    print(f"queries {queries} -> {queries_full}, seconds {seconds:.4f} -> {seconds_full:.4f}, ratio {seconds_full / seconds:.3f}")  # noqa: T201
    assert queries_full == queries
    assert len(sweep_queries()) == sweeps
    for sql in sweep_queries():
        assert not re.search(r"SCAN sagas_sagaexecution(?! USING)|Seq Scan on sagas_sagaexecution", plan_of(sql)), sql


def test_a_run_is_loaded_by_two_queries():
    pk = run_one()

    with CaptureQueriesContext(connection) as queries:
        store.load(pk)

    assert len(queries) == 2
