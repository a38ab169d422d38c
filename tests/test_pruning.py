"""What is beyond its retention is deleted by what it is at that moment, not by what it was when it was looked up."""

from __future__ import annotations

from itertools import count

import pytest
from django.db import connection

from hub import pruning
from sagas.accept import Request, accept
from sagas.catalog import find
from sagas.models import SagaExecution, SagaVersion

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]

_number = count()


def run(status):
    row = accept(find("three_steps"), Request(context={}))[0]
    SagaExecution.objects.filter(pk=row.pk).update(status=status)
    return row


def version():
    number = next(_number)
    return SagaVersion.objects.create(saga_name="old", version=str(number), hash=f"{number}", snapshot={})


def after_the_first_look(do):
    """Do something between the look-up of what is to go and its deletion."""
    done = []

    def execute(execute, sql, params, many, context):
        found = execute(sql, params, many, context)
        if not done:
            done.append(True)
            do()
        return found

    return connection.execute_wrapper(execute)


def test_all_rows_go_batch_by_batch():
    for _ in range(5):
        run("failed")

    assert pruning.delete(SagaExecution.objects.order_by("pk"), batch=2) == 5


def test_a_run_that_an_operator_sends_on_meanwhile_stays():
    gone, sent_on = run("failed"), run("failed")

    with after_the_first_look(lambda: SagaExecution.objects.filter(pk=sent_on.pk).update(status="running")):
        deleted = pruning.delete(SagaExecution.objects.filter(status="failed").order_by("pk"))

    assert deleted == 1
    assert [row.pk for row in SagaExecution.objects.all()] == [sent_on.pk] != [gone.pk]


def test_a_row_that_others_refer_to_is_left_and_all_others_go(caplog):
    named = run("failed").definition
    for _ in range(4):
        version()

    deleted = pruning.delete(SagaVersion.objects.order_by("-pk"), batch=3)

    assert deleted == 4
    assert list(SagaVersion.objects.all()) == [named]
    assert "rows are left" in caplog.text


def test_a_version_that_a_new_run_names_meanwhile_is_left_and_all_others_go():
    wanted, unwanted = version(), version()
    unnamed = SagaVersion.objects.filter(executions__isnull=True).order_by("pk")
    row = run("failed")

    with after_the_first_look(lambda: SagaExecution.objects.filter(pk=row.pk).update(definition=wanted)):
        pruning.delete(unnamed)

    assert not SagaVersion.objects.filter(pk=unwanted.pk).exists()
    assert SagaExecution.objects.get(pk=row.pk).definition == wanted
