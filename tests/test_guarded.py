"""Rows change together with the row that guards them, or not at all."""

import threading

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from hub import guarded
from hub.guarded import Change, Insertion
from sagas.models import SagaExecution, SagaStepExecution, SagaTransition
from tests.console.pages import saga, step_done

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run():
    made = saga()
    step_done(made, 0)
    SagaTransition.objects.filter(execution=made).delete()
    made.refresh_from_db()
    return made


def moved(run, *, seen=None, **values):
    revision = run.revision if seen is None else seen
    return Change(model=SagaExecution, values={"revision": revision + 1, **values}, where={"id": run.pk, "revision": revision})


def step(run, **values):
    return Change(model=SagaStepExecution, values=values, where={"execution_id": run.pk, "index": 0})


def told(run, *words):
    rows = [
        {"execution_id": run.pk, "at": timezone.now(), "step_id": "é'\"%s", "old": "", "new": word, "reason": "", "actor": ""}
        for word in words
    ]
    return Insertion(model=SagaTransition, rows=rows)


def stored(run):
    """Return what the run's row, its first step and its history say."""
    row = SagaExecution.objects.get(pk=run.pk)
    first = SagaStepExecution.objects.get(execution=run, index=0)
    return row.revision, row.context, first.output, list(SagaTransition.objects.filter(execution=run).values_list("new", flat=True))


def commit(*changes, **options):
    return guarded.commit(*changes, **{"before_commit": lambda: None} | options)


def test_all_changes_are_made_in_one_commit(run):
    output = {"text": "100 %s %% 'quoted'", "list": [1, None, {"é": True}]}

    assert commit(moved(run, context={"a": 1}, error=None), [step(run, output=output, lease_until=None)], told(run, "one", "two"))

    assert stored(run) == (run.revision + 1, {"a": 1}, output, ["one", "two"])


def test_nothing_is_changed_when_somebody_else_was_first(run):
    before = stored(run)

    assert not commit(moved(run, seen=run.revision + 7), [step(run, output={"lost": True})], told(run, "lost"))

    assert stored(run) == before


def test_a_change_without_history_or_steps_is_one_too(run):
    assert commit(moved(run), [], told(run))

    assert stored(run)[0] == run.revision + 1


def test_nothing_stands_when_the_last_moment_fails(run):
    before = stored(run)

    def fail():
        raise KeyError("killed")

    with pytest.raises(KeyError):
        commit(moved(run), [step(run, output={})], told(run, "lost"), before_commit=fail)

    assert stored(run) == before


def test_what_the_database_refuses_takes_all_back(run):
    before = stored(run)

    with pytest.raises(IntegrityError):
        commit(moved(run), [step(run, status="dreaming")], told(run, "lost"))

    assert stored(run) == before


def test_within_a_transaction_it_stands_or_falls_with_it(run):
    before = stored(run)

    with transaction.atomic():
        assert commit(moved(run), [step(run, output={})], told(run, "lost"))
        transaction.set_rollback(True)

    assert stored(run) == before


def test_of_many_at_once_one_wins(run):
    start, won = threading.Barrier(4), []

    def rival(number):
        start.wait(10)
        if commit(moved(run, context={"winner": number}), [step(run, output={"winner": number})], told(run, f"{number}")):
            won.append(number)
        connection.close()

    threads = [threading.Thread(target=rival, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    [winner] = won
    assert stored(run) == (run.revision + 1, {"winner": winner}, {"winner": winner}, [f"{winner}"])
