"""The sweeper: several at once do what one does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.db import OperationalError, connection

from hub.redis_client import client
from sagas import accept, catalog, children, claims, clock, engine, recovery, store
from sagas.models import SagaExecution, SagaTransition
from sagas.states import Direction
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def due(no_worker):
    """A run of which no message was ever sent."""
    row, _ = accept.accept(catalog.find("three_steps"), accept.Request())
    SagaExecution.objects.filter(pk=row.pk).update(next_wake_at=clock.moment(clock.now() - 1))
    return str(row.pk)


def test_a_run_that_another_sweeper_has_seen_to_is_left_alone(due):
    assert recovery.wake(due)

    assert not recovery.wake(due)

    assert SagaExecution.objects.get(pk=due).hints == 1


def test_a_sweep_sends_what_nobody_picked_up_and_does_not_look_at_it_again_at_once(due):
    first, second = recovery.sweep(), recovery.sweep()

    assert (first.looked_at, first.sent) == (1, 1)
    assert second.looked_at == 0


def test_one_sweeper_sweeps_at_a_time_and_one_that_died_is_forgotten(due):
    client().set(recovery.SWEEPING_KEY, "somebody else", px=300)

    assert recovery.sweep().looked_at == 0

    wait_until(lambda: recovery.sweep().looked_at == 1, what="a sweep after the other sweeper's time")
    assert not client().exists(recovery.SWEEPING_KEY)


def test_a_slow_sweep_leaves_the_rest_to_the_next(due, settings):
    settings.HUB = settings.HUB.model_copy(update={"saga_sweep_sec": -1.0})

    assert recovery.sweep().looked_at == 0


@pytest.fixture
def read_only(due):
    """A database that takes no change, as a full one or a standby."""
    turned = {"sqlite": "PRAGMA query_only = {}", "postgresql": "SET default_transaction_read_only = {}"}[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(turned.format("on"))
        yield due
        cursor.execute(turned.format("off"))


def test_a_database_that_takes_no_change_is_not_held_against_each_run(read_only, caplog):
    with pytest.raises(OperationalError):
        recovery.sweep()

    assert "put aside" not in caplog.text


@pytest.fixture
def about_to_start_a_child(no_worker):
    """A parent whose child is about to be started, by a process that is still busy with it."""
    row, _ = accept.accept(catalog.find("outer"), accept.Request(context={"plan": {}}))
    engine.perform(str(row.pk), 0, Direction.DO)
    return claims.claim(store.load(row.pk), 1, Direction.DO)


def let_time_pass(attempt, seconds):
    """Move the claim into the past, and the moment at which somebody looks at the run."""
    past = clock.moment(clock.now() - seconds)
    SagaTransition.objects.filter(execution=attempt.execution_id, step_id="child").update(at=past)
    SagaExecution.objects.filter(pk=attempt.execution_id).update(next_wake_at=past)


def test_a_parent_whose_child_was_never_started_does_not_wait_for_the_childs_whole_time(about_to_start_a_child):
    attempt = about_to_start_a_child
    recovery.wake(attempt.execution_id)
    assert store.load(attempt.execution_id).run.steps[1].status == "running"

    let_time_pass(attempt, 20)
    recovery.wake(attempt.execution_id)

    step = store.load(attempt.execution_id).run.steps[1]
    assert (step.status, step.error["code"]) == ("waiting", "E11442")
    assert children.ask(attempt) is None
    assert not SagaExecution.objects.filter(parent=attempt.execution_id).exists()


def test_a_child_that_ends_while_its_parent_looks_at_it_counts_as_undone(about_to_start_a_child):
    attempt = about_to_start_a_child
    children.ask(attempt)
    child = SagaExecution.objects.filter(parent=attempt.execution_id)
    child.update(status="compensating", cause="cancelled")

    def end_it_after_the_look(execute, sql, params, many, context):
        found = execute(sql, params, many, context)
        if 'parent_id" =' in sql and sql.startswith("SELECT"):
            with connection.cursor() as cursor:
                cursor.execute("UPDATE sagas_sagaexecution SET status = 'compensated' WHERE parent_id IS NOT NULL")
        return found

    with connection.execute_wrapper(end_it_after_the_look):
        ended = children.ask(replace(attempt, direction=Direction.UNDO))

    assert child.get().status == "compensated"
    assert ended.outcome == "ok"
