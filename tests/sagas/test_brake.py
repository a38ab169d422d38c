"""How many undos of one target may be in flight: the storm brake and its slots."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import replace

import pytest
from django.conf import settings
from django.db import OperationalError

from hub import guarded
from hub.celery import SAGAS
from hub.redis_client import client
from sagas import aftermath, brake, catalog, claims, clock, engine, events, services, store
from sagas.accept import Request, accept
from sagas.models import SagaExecution, SagaTransition, UndoSlot
from sagas.states import Direction, StepState, StepStatus
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_mass_failure_never_has_more_undos_in_flight_than_allowed(worker, start_worker, sweeper):
    start_worker(queues="hub.sagas", concurrency=4)
    ids = [services.start("stormy", {"plan": {"b": "refuse", "a.undo": "slow"}})["execution_id"] for _ in range(8)]
    most = 0

    def all_ended():
        nonlocal most
        most = max(most, UndoSlot.objects.count())
        return SagaExecution.objects.filter(status="compensated").count() == len(ids)

    wait_until(all_ended, timeout_sec=60, what="all sagas to be undone")

    assert most == settings.HUB.saga_max_undos_per_target == 3
    wait_until(lambda: not UndoSlot.objects.exists(), what="the last slot to be given back")


def test_an_undo_that_is_held_keeps_one_slot_and_gives_it_back():
    call, execution_id = calls_of_b(), run_without_worker()

    assert brake.take(call, execution_id, 1, lease_until=clock.now() + 60)
    assert brake.take(call, execution_id, 1, lease_until=clock.now() + 60)
    assert UndoSlot.objects.count() == 1

    under_way = StepState(status=StepStatus.COMPENSATING, lease_until=clock.now() + 60, undo_attempts=1)
    assert aftermath._undo_ended(under_way, replace(under_way, lease_until=None, undo_attempts=0))


@pytest.mark.usefixtures("no_worker")
def test_a_duplicate_message_of_an_undo_keeps_no_slot():
    execution_id = about_to_be_undone()
    seen = store.load(execution_id)
    engine.perform(execution_id, 1, Direction.UNDO)

    assert claims.claim(seen, 1, Direction.UNDO) is None
    assert not UndoSlot.objects.exists()


@pytest.mark.usefixtures("no_worker")
def test_a_duplicate_message_of_an_undo_leaves_the_slot_to_the_one_that_runs():
    execution_id = about_to_be_undone()
    seen = store.load(execution_id)

    assert claims.claim(store.load(execution_id), 1, Direction.UNDO)
    assert claims.claim(seen, 1, Direction.UNDO) is None
    assert UndoSlot.objects.count() == 1


@pytest.mark.usefixtures("no_worker")
def test_a_slot_that_is_free_goes_to_one_that_waits_for_it():
    """Of another target, or of a breaker, runs may wait for hours: woken first, they would leave the slot to the next sweep."""
    held, waiting, ends = about_to_be_undone(), about_to_be_undone(), about_to_be_undone()
    now = clock.now()
    store.dispatch(held, events.Blocked(now=now - 60, patience_sec=math.inf, error={"code": "E11443", "message": "not tried"}))
    wants = claims.claim(store.load(ends), 1, Direction.UNDO)
    for number in range(1, settings.HUB.saga_max_undos_per_target):
        UndoSlot.objects.create(
            target=brake.target_of(calls_of_b()), number=number, execution_id=held, step_index=9, lease_until=clock.moment(now + 60)
        )
    engine.perform(waiting, 1, Direction.UNDO)
    sent = len(messages_of(waiting))

    engine.record(wants, engine.call_here(wants))

    assert len(messages_of(waiting)) == sent + 1


@pytest.mark.usefixtures("no_worker")
def test_a_commit_whose_answer_is_lost_counts(monkeypatch):
    execution_id, commit, lost = about_to_be_undone(), guarded.commit, []

    def answer_lost(moved, steps, history, **given):
        won = commit(moved, steps, history, **given)
        if not lost and any(change.values.get("status") == "compensated" for change in steps):
            lost.append(True)
            raise OperationalError("server closed the connection unexpectedly")
        return won

    monkeypatch.setattr(guarded, "commit", answer_lost)
    engine.perform(execution_id, 1, Direction.UNDO)

    assert lost
    assert store.load(execution_id).run.steps[1].status is StepStatus.COMPENSATED
    assert not UndoSlot.objects.exists()
    assert not SagaTransition.objects.filter(execution=execution_id, reason="late reply").exists()


def about_to_be_undone():
    execution_id = str(accept(catalog.find("three_steps", None), Request(context={"plan": {"c": "refuse"}}))[0].pk)
    for index in range(3):
        engine.perform(execution_id, index, Direction.DO)
    return execution_id


def calls_of_b():
    return catalog.find("three_steps", None).steps[1].undo


def run_without_worker():
    return str(accept(catalog.find("three_steps", None), Request(context={}))[0].pk)


def messages_of(execution_id):
    """Return what waits in the queue for a run."""
    bodies = (base64.b64decode(json.loads(text)["body"]).decode() for text in client().lrange(SAGAS, 0, -1))
    return [body for body in bodies if execution_id in body]
