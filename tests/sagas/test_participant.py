"""The barrier in a layer's own transaction: whatever order and number the calls come in, the effect is right."""

from __future__ import annotations

import random
import threading
import uuid

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from hub.errors import IntegrationError, Refused
from sagas.participant import saga_participant
from sagas.participant.models import SagaBarrier

pytestmark = pytest.mark.django_db(transaction=True)


class Book:
    """Effects as the layer's database sees them: barrier rows of a step named ``effect`` stand in for a business table."""

    @staticmethod
    def add(context, kind):
        about = context["_saga"]
        SagaBarrier.objects.create(
            execution_id=about["execution_id"], step_id=f"{kind}:{uuid.uuid4().hex[:8]}", direction="do", origin="do"
        )

    @staticmethod
    def count(execution_id, kind):
        return SagaBarrier.objects.filter(execution_id=execution_id, step_id__startswith=f"{kind}:").count()


@saga_participant
def reserve(context):
    Book.add(context, "reserved")
    return {"seat": 7}


@saga_participant(undo=True)
def release(context, output=None):
    assert output == {"seat": 7}
    Book.add(context, "released")


def context(execution_id="e1", step_id="seat"):
    return {"_saga": {"execution_id": execution_id, "step_id": step_id}}


def effects(execution_id="e1"):
    return Book.count(execution_id, "reserved"), Book.count(execution_id, "released")


def test_a_duplicate_action_acts_once_and_gives_the_same_output():
    assert reserve(context()) == reserve(context()) == {"seat": 7}

    assert effects() == (1, 0)


def test_an_undo_of_what_never_happened_does_nothing():
    assert release(context()) is None

    assert effects() == (0, 0)


def test_an_action_after_its_undo_is_refused():
    release(context())

    with pytest.raises(Refused, match="undone before it came"):
        reserve(context())

    assert effects() == (0, 0)


def test_a_duplicate_undo_undoes_once_with_the_output_that_the_hub_never_heard():
    reserve(context())

    release(context(), None)
    release(context(), None)

    assert effects() == (1, 1)


def test_a_failing_action_leaves_no_trace_and_may_come_again():
    @saga_participant
    def failing(context):
        Book.add(context, "reserved")
        raise ValueError("no seat")

    with pytest.raises(ValueError, match="no seat"):
        failing(context())
    assert effects() == (0, 0)

    reserve(context())
    assert effects() == (1, 0)


def test_steps_and_sagas_do_not_share_a_barrier():
    reserve(context("e1", "seat"))
    reserve(context("e1", "other"))
    reserve(context("e2", "seat"))

    assert (effects("e1"), effects("e2")) == ((2, 0), (1, 0))


def calls_of(schedule, execution_id):
    """Run the calls of a schedule at once, each in a thread and connection of its own."""

    def call(function):
        try:
            function(context(execution_id))
        except Refused:
            pass
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call, args=(function,)) for function in schedule]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("seed", range(60))
def test_every_concurrent_schedule_ends_with_nothing_or_with_one_of_each(seed):
    chance = random.Random(seed)
    execution_id = f"random-{seed}"
    schedule = chance.choices([reserve, release], k=chance.randint(2, 6))

    calls_of(schedule, execution_id)
    release(context(execution_id))

    reserved, released = effects(execution_id)
    assert reserved == released
    assert reserved in (0, 1)


def test_random_schedules_in_a_row_keep_the_rule_too():
    chance = random.Random(1)
    for number in range(200):  # a thousand: python -m tests.sagas.barrier
        execution_id = f"row-{number}"
        for function in chance.choices([reserve, release], k=chance.randint(1, 6)):
            try:
                function(context(execution_id))
            except Refused:
                assert SagaBarrier.objects.filter(execution_id=execution_id, origin="undo").exists()
        release(context(execution_id))
        reserved, released = effects(execution_id)
        assert (reserved, released) in {(0, 0), (1, 1)}


def test_old_rows_are_pruned(capsys):
    for number in range(5):
        reserve(context(step_id=f"seat-{number}"))
    SagaBarrier.objects.filter(step_id__startswith="seat").update(created_at=timezone.now() - timezone.timedelta(days=31))
    reserve(context("e2"))

    call_command("prune_saga_barriers")

    assert capsys.readouterr().out == "saga barriers: 5\n"
    assert not SagaBarrier.objects.filter(step_id__startswith="seat-").exists()
    assert effects("e2") == (1, 0)
    assert SagaBarrier.objects.filter(execution_id="e2", step_id="seat").exists()


@pytest.mark.parametrize("days", ["0", "-1", "nan", "inf", "soon"])
def test_a_wrong_age_prunes_nothing(days):
    reserve(context())

    with pytest.raises(CommandError):
        call_command("prune_saga_barriers", f"--days={days}")

    assert SagaBarrier.objects.filter(step_id="seat").exists()


def test_a_task_that_no_saga_calls_says_so():
    with pytest.raises(IntegrationError, match=r"E11901.*reserve is a saga's step, and its context has no '_saga'"):
        reserve({"seat": 7})
