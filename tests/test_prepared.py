"""Prepared statements read and write exactly what the ORM would."""

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from hub import prepared
from sagas import store
from sagas.models import SagaExecution, SagaStepExecution, SagaTransition
from tests.console.pages import saga, step_done

pytestmark = pytest.mark.django_db

runs = prepared.Select(lambda pk: SagaExecution.objects.filter(pk=pk).annotate(version=F("definition__version")), by="id")
steps = prepared.Select(lambda pk: SagaStepExecution.objects.filter(execution=pk).order_by("-index"), by="execution")
names = prepared.Select(
    lambda pk: SagaStepExecution.objects.filter(execution=pk).order_by("index"),
    by="execution",
    into=lambda row: (row["index"], row["output"]),
)


def columns(row):
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def test_rows_are_read_as_the_orm_reads_them():
    run = saga(items=[1, {"a": None}], flag=True)
    step_done(run, 0, output="é")

    [found] = runs(run.pk)

    expected = SagaExecution.objects.get(pk=run.pk)
    assert columns(found) == columns(expected)
    assert (found.version, found == expected, found._state.adding) == (expected.definition.version, True, False)
    assert [columns(one) for one in steps(str(run.pk))] == [columns(one) for one in run.steps.order_by("-index")]
    assert runs("00000000-0000-0000-0000-000000000000") == []


def test_several_queries_are_asked_together():
    run, other = saga(), saga()
    step_done(run, 0, output="é")
    step_done(run, 1)

    found, of_run, pairs = prepared.together(run.pk, runs, steps, names)

    assert (found, of_run) == ([run], list(run.steps.order_by("-index")))
    assert pairs == list(run.steps.order_by("index").values_list("index", "output"))
    assert prepared.together(other.pk, steps, runs)[1] == [other]
    assert prepared.together("00000000-0000-0000-0000-000000000000", runs, steps) == [[], []]


def test_an_update_names_what_it_was_decided_on():
    run = saga()
    values = {"context": {"a": 1}, "error": None, "blocked_at": timezone.now(), "status": "waiting"}

    assert prepared.update(SagaExecution, values, id=run.pk, revision=run.revision + 1) == 0
    assert prepared.update(SagaExecution, values, id=run.pk, revision=run.revision) == 1

    found = SagaExecution.objects.get(pk=run.pk)
    assert {name: getattr(found, name) for name in values} == values
    assert SagaExecution.objects.filter(pk=run.pk, error__isnull=True).exists()


def test_rows_are_inserted_as_the_orm_inserts_them():
    run = saga()
    moves = [SagaTransition(execution=run, at=timezone.now(), step_id=step, old="pending", new="running") for step in "ab"]

    prepared.insert(moves, [SagaStepExecution(execution=run, index=7, step_id="new")])
    prepared.insert([])
    prepared.insert()

    stored = SagaTransition.objects.filter(execution=run).exclude(step_id="").order_by("id")
    assert [columns(one) | {"id": None} for one in stored] == [columns(one) for one in moves]
    assert SagaStepExecution.objects.get(execution=run, step_id="new").index == 7


def test_the_database_refuses_what_the_orm_would_be_refused():
    run = saga()

    with pytest.raises(IntegrityError), transaction.atomic():
        prepared.update(SagaExecution, {"status": "dreaming"}, id=run.pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        prepared.insert([SagaStepExecution(execution=run, index=0, step_id="again")])


def test_a_change_that_only_json_sees_is_written():
    run = saga(flag=1)
    step_done(run, 0, flag=True)

    assert SagaExecution.objects.get(pk=run.pk).context["flag"] is True
    assert store.load(run.pk).run.steps[0].output == {"flag": True}
