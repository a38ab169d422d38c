"""Children and their parents, when words between them come late, twice or not at all."""

from __future__ import annotations

import pytest

from hub.errors import IntegrationError
from sagas import catalog, chain, children, clock, engine, listening, recovery, services, signals, store
from sagas.models import SagaExecution, SagaLock, SagaStepExecution, SagaTransition
from sagas.states import Direction
from tests.sagas import ledger
from tests.sagas.driven import NOBODY, accepted, begin, children_of, drive, look, park, turn
from tests.sagas.test_operators import change_plan

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]


def cancelled_and_undone(execution_id):
    """Call a run off whose child step was claimed by a process of which nothing is heard any more."""
    services.cancel(execution_id, reason="wrong customer")
    SagaTransition.objects.filter(execution=execution_id, step_id="child").update(at=clock.moment(clock.now() - 60))
    look(execution_id)
    return drive(execution_id)


@pytest.mark.parametrize("meanwhile", [cancelled_and_undone, lambda pk: services.cancel(pk, reason="wrong customer")])
def test_no_child_is_started_after_its_parent_turned_back(monkeypatch, meanwhile):
    parent = accepted("outer")
    turn(parent)
    # This process is frozen between its look at the parent and the child's insert, and others go on.
    monkeypatch.setattr(listening, "listen_for", lambda spec: meanwhile(parent))

    turn(parent)

    assert children_of(parent) == []
    assert drive(parent)["status"] == "compensated"
    assert ledger.effects(parent) == ["a.do", "a.undo"]


def test_a_call_to_cancel_that_comes_late_leaves_the_child_of_a_new_try_alone():
    parent = accepted("beside_a_child", plan={"b": "refuse"})
    begin(parent, 0), begin(parent, 1)  # b is refused, the child is to be called off: the word of it stays in a full queue
    look(parent)
    drive(children_of(parent)[0])
    assert services.status(parent)["status"] == "failed"
    change_plan(parent)
    services.retry(parent, reason="b is right again")
    drive(parent)
    second = children_of(parent)[1]
    turn(second)

    children.cancel(parent, 0)

    assert services.status(second)["cause"] is None
    assert drive(second)["status"] == "completed"


def test_a_child_is_left_to_a_worker_that_knows_it(monkeypatch):
    parent = accepted("outer")
    turn(parent)
    known = catalog.specs()

    with monkeypatch.context() as before_the_deploy:
        before_the_deploy.setattr(catalog, "specs", lambda: {key: spec for key, spec in known.items() if spec.saga_name != "inner"})
        turn(parent)
        found = services.status(parent)
        assert (found["status"], found["cause"]) == ("waiting", None)
        assert found["blocked"] == "E11420: no worker that was asked defines the child saga 'inner'"
        assert engine.hindrance(store.load(parent))

    turn(parent)
    assert len(children_of(parent)) == 1


def test_a_child_that_nobody_knows_does_not_outlast_the_deadline(monkeypatch):
    parent = accepted("outer")
    turn(parent)
    monkeypatch.setattr(catalog, "defines", lambda saga_name: False)
    turn(parent)

    SagaExecution.objects.filter(pk=parent).update(deadline_at=clock.moment(clock.now() - 1))
    look(parent)

    found = drive(parent)
    assert (found["status"], found["cause"]) == ("compensated", "timeout")


def test_a_child_that_failed_goes_on_when_its_parent_is_sent_on():
    parent = accepted("outer_kept", plan={"y": "refuse"})
    turn(parent)
    [child] = children_of(parent)
    drive(child)
    look(parent)
    assert (services.status(child)["status"], services.status(parent)["status"]) == ("failed", "failed")
    change_plan(child)

    services.retry(parent, reason="y is back")
    turn(parent)
    drive(child)
    look(parent)

    assert drive(parent)["status"] == "completed"
    assert children_of(parent) == [child]
    assert ledger.effects(child) == ["x.do", "y.do", "y.do"]


def test_a_step_waits_for_a_child_that_was_parked_and_goes_on_by_itself():
    parent = accepted("outer")
    turn(parent), turn(parent)
    [child] = children_of(parent)
    turn(child), park(child)

    look(parent)
    assert services.status(parent)["status"] == "running"

    assert recovery.resume_parked() == 1
    drive(child), look(parent)
    assert drive(parent)["status"] == "completed"


def test_a_parent_that_is_called_off_does_not_wait_for_its_parked_child():
    parent = accepted("outer")
    turn(parent), turn(parent)
    [child] = children_of(parent)
    turn(child), park(child)

    services.cancel(parent, reason="wrong customer")
    look(parent)

    assert drive(parent)["status"] == "compensating"
    drive(child), look(parent)
    assert (services.status(child)["status"], drive(parent)["status"]) == ("compensated", "compensated")


def test_a_child_that_stays_parked_does_not_outlast_its_step():
    parent = accepted("outer")
    turn(parent), turn(parent)
    [child] = children_of(parent)
    turn(child), park(child)

    SagaExecution.objects.filter(pk=parent).update(deadline_at=clock.moment(clock.now() - 1))
    SagaStepExecution.objects.filter(execution=parent).exclude(lease_until=None).update(lease_until=clock.moment(clock.now() - 1))
    look(parent)

    assert services.status(parent)["cause"] == "timeout"
    drive(parent), drive(child), look(parent)
    assert (services.status(child)["status"], drive(parent)["status"]) == ("compensated", "compensated")


@pytest.fixture
def waiting_for_its_child():
    """A run whose child was parked while it undid itself, as by a deploy that took its version away."""
    parent = accepted("outer", plan={"b": "refuse"})
    turn(parent), turn(parent)
    [child] = children_of(parent)
    drive(child), look(parent), drive(parent)
    assert services.status(child)["status"] == "compensating"
    park(child)
    look(parent)
    return parent, child


def test_an_undo_waits_for_a_child_that_goes_on_by_itself(waiting_for_its_child):
    parent, child = waiting_for_its_child
    found = services.status(parent)
    assert (found["status"], found["steps"][1]["undo_attempts"]) == ("compensating", 0)
    assert found["blocked"] == f"child saga {child} is needs_operator: {NOBODY['code']}: {NOBODY['message']}"

    assert recovery.resume_parked() == 1
    drive(child)
    SagaStepExecution.objects.update(due_at=None)

    assert drive(parent)["status"] == "compensated"
    assert ledger.effects(parent) == ["a.do", "b.do", "a.undo"]


def test_an_undo_that_has_nothing_to_wait_for_sends_the_next_one(waiting_for_its_child):
    parent, child = waiting_for_its_child
    recovery.resume_parked()
    drive(child)
    SagaStepExecution.objects.update(due_at=None)
    waiting = chain.backlog()

    begin(parent, 1, Direction.UNDO)

    assert services.status(parent)["steps"][1]["status"] == "compensated"
    assert chain.backlog() == waiting + 1


def test_asking_again_leaves_a_child_that_is_still_parked_as_it_is(waiting_for_its_child):
    parent, child = waiting_for_its_child
    SagaStepExecution.objects.update(due_at=None)

    turn(parent)

    assert services.status(child)["status"] == "needs_operator"
    assert services.status(parent)["status"] == "compensating"
    assert ledger.effects(parent) == ["a.do", "b.do"]


def test_an_undo_does_not_wait_for_a_parked_child_that_was_run_again(waiting_for_its_child):
    parent, child = waiting_for_its_child
    again = services.rerun(child, "x", reason="once more")["execution_id"]
    SagaStepExecution.objects.update(due_at=None)

    found = drive(parent)

    assert (found["status"], found["steps"][1]["status"]) == ("needs_operator", "compensation_failed")
    assert again in found["steps"][1]["undo_error"]["message"]


def test_a_child_brings_back_what_it_did_and_not_what_it_was_given():
    parent = accepted("room_beside_a_child", room=1)
    begin(parent, 1)
    begin(parent, 0)  # the sibling ends while the child has a copy of the context as it was
    drive(children_of(parent)[0])
    look(parent)

    found = services.status(parent)
    assert found["status"] == "completed"
    assert found["context"] == {"plan": {}, "room": 7, "x_done": 1, "y_done": 1}
    assert found["steps"][1]["output"] == {"x_done": 1, "y_done": 1}


def test_a_signal_for_a_child_that_is_given_to_its_parent_is_led_there():
    with pytest.raises(
        IntegrationError, match=r"waits for signal:approved \(it waits for none; a child of it has its own: its status names"
    ):
        signals.give(accepted("outer"), "approved")


def test_a_refusing_child_works_under_the_lock_of_its_parent():
    parent = accepted("parent_of_refusing", id=7)
    turn(parent), turn(parent)
    [child] = children_of(parent)
    drive(child)
    look(parent)

    assert drive(parent)["status"] == "completed"
    assert not SagaLock.objects.exists()


def test_a_refusing_child_is_refused_what_a_stranger_holds():
    stranger, parent = accepted("one_at_a_time", id=7), accepted("parent_of_refusing_alone", id=7)
    turn(stranger), turn(parent)

    assert (children_of(parent), services.status(parent)["error"]["code"]) == ([], "E11434")


def test_a_child_that_is_called_off_calls_its_own_child_off_at_once():
    grandparent = accepted("grandparent")
    turn(grandparent)
    [parent] = children_of(grandparent)
    turn(parent), turn(parent)
    services.cancel(grandparent, reason="wrong customer")
    waiting = chain.backlog()

    children.cancel(grandparent, 0)

    assert chain.backlog() == waiting + 1


def test_a_child_that_has_nothing_to_undo_tells_its_parent_at_once():
    parent = accepted("issuing")
    turn(parent)
    services.cancel(parent, reason="wrong customer")
    waiting = chain.backlog()

    children.cancel(parent, 0)

    assert services.status(children_of(parent)[0])["status"] == "compensated"
    assert chain.backlog() == waiting + 1
