"""Waits, children, verification, locks, inline runs, pre-flight and the storm brake, on real workers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from hub import EventMessage, guarded
from hub.errors import ErrorCode, IntegrationError
from hub.events import bus
from sagas import aftermath, brake, catalog, children, claims, clock, engine, locks, retention, services, signals, store
from sagas.accept import Request, accept
from sagas.models import SagaExecution, SagaLock, SagaTransition, UndoSlot
from sagas.states import Direction, StepState, StepStatus
from tests.processes import wait_until
from tests.sagas import ledger
from tests.sagas.test_engine import ended, run, statuses

pytestmark = pytest.mark.django_db(transaction=True)


def status_of(execution_id):
    return services.status(execution_id)["status"]


def waits(execution_id):
    return wait_until(lambda: status_of(execution_id) == "waiting", what="the saga to wait")


# --- signals, timers, events ----------------------------------------------------------------------------------------


def test_a_signal_ends_the_wait_and_brings_its_payload_into_the_context(worker, sweeper):
    execution_id = services.start("approval", {})["execution_id"]
    waits(execution_id)

    signals.give(execution_id, "approved", {"by": "ann"})

    found = ended(execution_id)
    assert found["status"] == "completed"
    assert found["context"]["by"] == "ann"
    assert ledger.effects(execution_id) == ["a.do", "b.do"]


def test_a_signal_that_comes_early_is_kept(worker, sweeper):
    execution_id = services.start("approval", {"plan": {"a": "slow"}})["execution_id"]

    signals.give(execution_id, "approved", {"by": "ann"})

    assert ended(execution_id)["context"]["by"] == "ann"


def test_the_first_signal_of_a_name_counts(worker, sweeper):
    execution_id = services.start("approval", {"plan": {"a": "slow"}})["execution_id"]

    signals.give(execution_id, "approved", {"by": "ann"})
    signals.give(execution_id, "approved", {"by": "bob"})

    assert ended(execution_id)["context"]["by"] == "ann"


def test_a_signal_that_does_not_come_in_time_turns_the_saga_back(worker, sweeper):
    found = run("impatient")

    assert found["status"] == "compensated"
    assert found["error"]["message"] == "signal:approved did not come within 0.5 s"
    assert ledger.effects(found["execution_id"]) == ["a.do", "a.undo"]


def test_a_saga_may_begin_with_a_timer(worker, sweeper):
    found = run("timer_first")

    assert found["status"] == "completed"
    assert ledger.effects(found["execution_id"]) == ["a.do"]


def test_a_waiting_saga_can_be_cancelled(worker, sweeper):
    execution_id = services.start("approval", {})["execution_id"]
    waits(execution_id)

    services.cancel(execution_id, reason="nobody answers")

    assert ended(execution_id)["status"] == "compensated"
    assert ledger.effects(execution_id) == ["a.do", "a.undo"]


def test_an_ended_saga_takes_no_signals(worker, sweeper):
    found = run("three_steps")

    with pytest.raises(IntegrationError, match=r"^E11425: "):
        signals.give(found["execution_id"], "approved")


def test_an_event_wakes_the_runs_that_wait_for_its_topic(worker, sweeper):
    execution_id = services.start("on_event", {})["execution_id"]
    waits(execution_id)

    assert signals.event_came("agent.deleted", {"agent_id": "x"}, event_id="e1") == 0
    assert signals.event_came("agent.created", {"agent_id": "agent-1"}, event_id="e2") == 1

    assert ended(execution_id)["context"]["agent_id"] == "agent-1"


def test_an_event_that_a_step_causes_may_be_quicker_than_the_step(worker, relay):
    execution_id = services.start("hears_itself", {})["execution_id"]

    assert ended(execution_id)["context"]["by"] == execution_id


def test_an_event_with_a_correlation_id_wakes_only_the_run_that_has_it(worker, sweeper):
    first = services.start("on_event", {}, correlation_id="order-1")["execution_id"]
    second = services.start("on_event", {}, correlation_id="order-2")["execution_id"]
    waits(first), waits(second)

    assert signals.event_came("agent.created", {}, event_id="e3", correlation_id="order-2") == 1

    assert ended(second)["status"] == "completed"
    assert status_of(first) == "waiting"
    signals.event_came("agent.created", {}, event_id="e4")
    ended(first)


def test_an_event_that_comes_again_wakes_nobody_in_the_place_of_the_run_it_was_for(worker, sweeper):
    first = services.start("on_event", {}, correlation_id="order-1")["execution_id"]
    second = services.start("on_event", {}, correlation_id="order-2")["execution_id"]
    waits(first), waits(second)
    signals.event_came("agent.created", {"agent_id": "one"}, event_id="e5", correlation_id="order-1")
    ended(first)

    assert signals.event_came("agent.created", {"agent_id": "one"}, event_id="e5", correlation_id="order-1") == 0

    assert status_of(second) == "waiting"
    assert signals.event_came("agent.created", {"agent_id": "all"}, event_id="e7", correlation_id="of-nobody") == 1
    assert ended(second)["context"]["agent_id"] == "all"


def test_an_event_that_one_run_did_not_take_is_told_to_the_others_and_comes_again(worker, sweeper, monkeypatch):
    first, second = (services.start("on_event", {})["execution_id"] for _ in range(2))
    waits(first), waits(second)
    give = signals._give

    def lose_the_first(execution_id, event):
        if execution_id == first:
            raise IntegrationError(ErrorCode.EXECUTION_LEASED, "changed by others 12 times in a row")
        return give(execution_id, event)

    monkeypatch.setattr(signals, "_give", lose_the_first)
    with pytest.raises(IntegrationError, match=r"^E11426: "):
        signals.event_came("agent.created", {}, event_id="e8")
    ended(second)
    monkeypatch.setattr(signals, "_give", give)
    signals.event_came("agent.created", {}, event_id="e8")

    ended(first)


def test_an_event_published_on_the_bus_goes_through_the_relay_to_the_waiting_run(worker, relay):
    execution_id = services.start("on_event", {})["execution_id"]
    waits(execution_id)

    bus.publish(EventMessage.create(topic="agent.created", event_type="created", payload={"agent_id": "agent-7"}))

    assert ended(execution_id)["context"]["agent_id"] == "agent-7"


# --- children -------------------------------------------------------------------------------------------------------


def child_of(execution_id):
    return str(SagaExecution.objects.get(parent=execution_id).pk)


def test_a_child_runs_as_a_step_and_its_outputs_come_back(worker, sweeper):
    found = run("outer")

    assert found["status"] == "completed"
    assert found["context"]["y_done"] == 1
    assert ledger.effects(child_of(found["execution_id"])) == ["x.do", "y.do"]


def test_a_child_step_may_be_called_as_a_secret_is(worker, sweeper):
    assert run("issuing")["status"] == "completed"


def test_a_failing_child_undoes_itself_and_then_its_parent_turns_back(worker, sweeper):
    found = run("outer", y="refuse")

    assert found["status"] == "compensated"
    child = child_of(found["execution_id"])
    assert (status_of(child), ledger.effects(child)) == ("compensated", ["x.do", "y.do", "x.undo"])
    assert ledger.effects(found["execution_id"]) == ["a.do", "a.undo"]


def test_a_completed_child_is_undone_as_a_whole_by_its_parent(worker, sweeper):
    found = run("outer", timeout_sec=40, b="refuse")

    assert found["status"] == "compensated"
    child = child_of(found["execution_id"])
    assert (status_of(child), ledger.effects(child)) == ("compensated", ["x.do", "y.do", "y.undo", "x.undo"])
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "a.undo"]


def test_a_child_whose_output_is_too_large_for_its_parent_is_undone(worker, sweeper):
    found = run("outer", timeout_sec=40, x="talk", y="talk")

    assert (found["status"], found["error"]["code"]) == ("compensated", "E11461")
    child = child_of(found["execution_id"])
    assert (status_of(child), ledger.effects(child)) == ("compensated", ["x.do", "y.do", "y.undo", "x.undo"])
    assert ledger.effects(found["execution_id"]) == ["a.do", "a.undo"]


def test_a_child_is_kept_for_as_long_as_its_parent(worker, sweeper):
    parent = run("outer")["execution_id"]
    child = child_of(parent)
    long_ago = timezone.now() - timedelta(days=settings.HUB.saga_retention_days + 1)
    SagaExecution.objects.update(finished_at=long_ago)
    SagaExecution.objects.filter(pk=parent).update(status="needs_operator")

    assert retention.prune() == 0

    SagaExecution.objects.filter(pk=parent).update(status="completed")
    assert retention.prune() == 2
    assert not SagaExecution.objects.filter(pk=child).exists()


def test_a_child_that_nobody_told_to_undo_itself_is_told_when_its_parent_looks(worker, sweeper):
    parent = store.load(run("outer")["execution_id"])
    undoing = replace(parent.run.steps[1], status=StepStatus.COMPENSATING)
    steps = (parent.run.steps[0], undoing, parent.run.steps[2])
    turned_back = replace(parent, run=replace(parent.run, steps=steps))

    assert children.look(turned_back, 1) is None

    child = child_of(parent.row.pk)
    assert ended(child)["status"] == "compensated"
    assert children.look(turned_back, 1).outcome == "ok"


def test_cancelling_the_parent_calls_the_child_off(worker, sweeper):
    execution_id = services.start("outer", {"plan": {"x": "slow"}})["execution_id"]
    wait_until(lambda: SagaExecution.objects.filter(parent=execution_id, started_count__gt=0).exists(), what="the child to start")

    services.cancel(execution_id, reason="changed our minds")

    assert ended(execution_id, 40)["status"] == "compensated"
    child = child_of(execution_id)
    assert ledger.effects(child) == ["x.do", "x.undo"]
    assert ledger.effects(execution_id) == ["a.do", "a.undo"]


# --- verification ---------------------------------------------------------------------------------------------------


def test_an_ambiguous_step_that_happened_is_not_done_again(worker, sweeper):
    found = run("verified", b="unknown", truth="happened")

    assert found["status"] == "completed"
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "b.verify"]


def test_an_ambiguous_step_that_did_not_happen_is_retried_and_not_undone(worker, sweeper):
    found = run("verified", b="unknown", truth="did_not")

    assert found["status"] == "compensated"
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "b.verify", "b.do", "b.verify", "a.undo"]
    assert statuses(found)["b"] == "failed"


def test_an_ambiguous_step_of_which_nothing_is_known_is_undone(worker, sweeper):
    found = run("verified", b="unknown", truth="unknown")

    assert found["status"] == "compensated"
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "b.verify", "b.do", "b.verify", "b.undo", "a.undo"]


# --- locks ----------------------------------------------------------------------------------------------------------


def test_two_runs_on_one_entity_run_one_after_the_other(worker, sweeper):
    first = services.start("one_at_a_time", {"id": 7, "plan": {"b": "slow"}})["execution_id"]
    wait_until(lambda: SagaLock.objects.filter(name="order:7", execution=first).exists(), what="the lock")
    second = services.start("one_at_a_time", {"id": 7})["execution_id"]
    wait_until(lambda: services.status(second)["blocked"], what="the second run to say that it waits")

    assert f"'order:7' is held by saga {first}" in services.status(second)["blocked"]
    assert ended(first)["status"] == ended(second)["status"] == "completed"

    lines = [line for line in ledger.path().read_text().splitlines() if first in line or second in line]
    assert ["1" if first in line else "2" for line in lines] == ["1", "1", "2", "2"]
    assert not SagaLock.objects.exists()


def test_runs_on_other_entities_do_not_wait(worker, sweeper):
    first = services.start("one_at_a_time", {"id": 7, "plan": {"a": "slow"}})["execution_id"]
    second = services.start("one_at_a_time", {"id": 8})["execution_id"]

    ended(second)

    assert status_of(first) != "waiting"
    ended(first)


def test_a_refusing_saga_says_who_holds_the_entity_and_writes_nothing(worker, sweeper):
    first = services.start("refusing", {"id": 7, "plan": {"a": "slow"}})["execution_id"]

    with pytest.raises(IntegrationError, match=rf"^E11434: 'order:7' is held by saga {first}"):
        services.start("refusing", {"id": 7})

    assert SagaExecution.objects.count() == 1
    ended(first)
    services.start("refusing", {"id": 7})


def test_a_run_that_begins_with_a_wait_takes_its_locks_too(worker, sweeper):
    ids = [services.start("locked_after_a_wait", {"id": 7, "plan": {"b": "slow"}})["execution_id"] for _ in range(2)]

    for execution_id in ids:
        ended(execution_id, 40)

    order = [line for line in ledger.path().read_text().splitlines() if any(one in line for one in ids)]
    runs = [ids.index(next(one for one in ids if one in line)) for line in order]
    assert runs in ([0, 0, 1, 1], [1, 1, 0, 0])
    assert not SagaLock.objects.exists()


@pytest.mark.parametrize("name", ["one_at_a_time", "refusing"])
def test_locks_that_came_too_late_for_their_run_hold_up_no_other(worker, sweeper, name):
    first = services.start(name, {"id": 7, "plan": {"a": "refuse"}})["execution_id"]
    assert ended(first)["status"] == "compensated"
    locks.insert(SagaExecution.objects.get(pk=first))  # as by a process that loaded the run before it ended

    assert ended(services.start(name, {"id": 7})["execution_id"])["status"] == "completed"
    assert not SagaLock.objects.exists()


def test_a_lock_whose_field_is_missing_is_refused(worker):
    with pytest.raises(IntegrationError, match=r"^E11412: "):
        services.start("one_at_a_time", {})

    assert not SagaExecution.objects.exists()


# --- inline, pre-flight, brake --------------------------------------------------------------------------------------


def test_an_inline_saga_runs_in_one_task_with_every_move_committed(worker, sweeper):
    found = run("in_one_task")

    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "c.do", "d.do"]
    assert len({line["pid"] for line in ledger.read(found["execution_id"])}) == 1
    moves = SagaTransition.objects.filter(execution=found["execution_id"], new="completed").exclude(step_id="")
    assert [move.step_id for move in moves] == ["a", "b", "c", "d"]


def test_an_inline_saga_is_undone_like_any_other(worker, sweeper):
    found = run("in_one_task", d="refuse")

    assert found["status"] == "compensated"
    assert ledger.effects(found["execution_id"])[4:] == ["c.undo", "b.undo", "a.undo"]


def test_pre_flight_names_everything_that_is_missing_and_starts_nothing(worker):
    with pytest.raises(IntegrationError, match=r"^E11435: ") as refused:
        services.start("checked", {})

    assert "no live worker reads queue 'nobody' (for the task 'l03.unheard_of')" in str(refused.value)
    assert "L99" in str(refused.value)
    assert not SagaExecution.objects.exists()


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
