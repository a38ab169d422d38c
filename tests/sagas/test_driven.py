"""What one process at a time makes of a run: operators, locks of children, deadlines of what was parked, what functions are given."""

from __future__ import annotations

import pytest

from hub import SagaDefinition, SagaStep
from hub.circuits import fleet
from hub.diagnosis.sagas import why_saga_of
from hub.errors import CircuitOpen, ErrorCode, IntegrationError, Refused
from registry_app import lookup, maintenance
from sagas import calls, claims, engine, recovery, roster, services, signals, store, tasks
from sagas.models import SagaLock, SagaTransition
from sagas.states import Direction
from tests.registry import samples
from tests.sagas import ledger
from tests.sagas.driven import children_of, drive, look, park, started, turn

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]


@pytest.fixture
def layers_are_there(monkeypatch):
    monkeypatch.setattr(roster, "missing", lambda *_: None)


# --- cancelled runs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def called_off():
    """A run that was cancelled, and parked because nobody reads the queue of its first undo."""
    execution_id = started("undone_by_a_layer")
    turn(execution_id), turn(execution_id)
    services.cancel(execution_id, reason="called off", actor="ann")
    park(execution_id)
    assert services.status(execution_id)["status"] == "needs_operator"
    return execution_id


def test_a_cancelled_run_is_not_sent_forward_by_retry(called_off):
    assert services.retry(called_off, reason="the queue has a worker again", actor="bob")["status"] == "compensating"

    assert services.status(called_off)["cause"] == "cancelled"


def test_an_undo_that_nobody_could_begin_is_done_by_hand_and_stops_no_other(called_off):
    services.skip(called_off, "b", reason="released by hand", actor="bob")

    assert drive(called_off)["status"] == "compensated"
    assert ledger.effects(called_off) == ["a.do", "b.do", "a.undo"]


def test_who_cancelled_stands_in_the_history_also_while_a_step_runs():
    execution_id = started("three_steps")
    claims.claim(store.load(execution_id), 0, Direction.DO)

    services.cancel(execution_id, reason="wrong customer", actor="ann")

    said = SagaTransition.objects.filter(execution=execution_id, actor="ann").values_list("reason", flat=True)
    assert list(said) == ["cancelled: wrong customer; what runs now ends first"]


# --- locks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("saga", ["parent_of_locked", "kept_locked"])
def test_an_undo_waits_for_whoever_has_the_entity_now(saga):
    execution_id = started(saga, {"id": 7, "plan": {"b": "refuse"}})
    turn(execution_id), turn(execution_id)
    undone = next(iter(children_of(execution_id)), execution_id)
    drive(undone), look(execution_id)
    user = started("one_at_a_time", {"id": 7, "plan": {}})
    turn(user)
    assert str(SagaLock.objects.get(name="order:7").execution_id) == user

    drive(execution_id)
    if undone == execution_id:
        services.compensate(execution_id, reason="give it back")
    drive(undone)

    assert [effect for effect in ledger.effects(undone) if effect.endswith("undo")] == []
    assert f"'order:7' is held by saga {user}" in services.status(undone)["blocked"]
    drive(user), drive(undone)
    assert ledger.effects(undone)[-1].endswith(".undo")


def test_a_child_works_under_the_lock_of_its_parent():
    execution_id = started("parent_with_the_lock", {"id": 9, "plan": {}})
    drive(execution_id)

    assert drive(children_of(execution_id)[0])["status"] == "completed"


# --- parked and resumed ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("layers_are_there")
def test_a_run_that_is_resumed_keeps_the_time_it_was_given():
    execution_id = started("to_a_layer", timeout_sec=86_400.0)
    given = store.load(execution_id).run.deadline_at
    park(execution_id)

    assert recovery.resume_parked() == 1

    assert store.load(execution_id).run.deadline_at == given


def test_a_group_is_resumed_when_all_its_open_steps_can_begin():
    execution_id = started("asks_beside_a_layer")
    look(execution_id)
    park(execution_id)

    assert recovery.resume_parked() == 0

    assert services.status(execution_id)["status"] == "needs_operator"


@pytest.mark.usefixtures("layers_are_there")
def test_a_run_that_was_run_again_is_not_resumed():
    execution_id = started("to_a_layer")
    park(execution_id)
    services.rerun(execution_id, "tools", reason="the layer is back")

    assert recovery.resume_parked() == 0

    assert services.status(execution_id)["status"] == "needs_operator"
    assert str(why_saga_of(execution_id)).endswith("nothing happens until somebody decides")


@pytest.mark.usefixtures("layers_are_there")
def test_a_run_with_closures_is_not_resumed_without_its_caller():
    here = SagaStep(step_id="here", action=lambda _: {}, compensation=lambda _: None)
    layer = SagaStep(step_id="tools", task="l99.reserve", compensation_task="l99.release", queue="nobody")
    execution_id = started(SagaDefinition.create("closures", [here, layer]).spec(), owner_sec=8.0)
    attempt = claims.claim(store.load(execution_id), 0, Direction.DO)
    engine.record(attempt, calls.Ended(outcome="ok", output={}))
    park(execution_id)

    assert recovery.resume_parked() == 0

    assert str(why_saga_of(execution_id)).endswith("nothing happens until somebody decides")


# --- what a function is given -------------------------------------------------------------------------------------------


def test_what_a_function_writes_into_its_context_stays_with_it():
    context = {"order": {"lines": ["book"]}}

    def scribble(given):
        given["order"]["lines"].append(object())
        return {"seen": len(given["order"]["lines"])}

    step = SagaStep(step_id="a", action=scribble, no_compensation="nothing stays")
    execution_id = started(SagaDefinition.create("scribbles", [step]).spec(), context)
    attempt = claims.claim(store.load(execution_id), 0, Direction.DO)

    engine.record(attempt, calls.run_function(scribble, engine.payload(attempt), limit_sec=5, max_output_bytes=1_000))

    found = services.status(execution_id)
    assert (found["status"], found["context"]) == ("completed", {**context, "seen": 2})


@pytest.mark.parametrize(("error", "is_logged"), [(KeyError("price"), True), (TimeoutError("bank"), True), (Refused("no"), False)])
def test_the_log_says_in_which_line_a_function_raised(error, is_logged, caplog):
    def look_up(given):
        raise error

    step = SagaStep(step_id="a", action=look_up, no_compensation="nothing stays")
    execution_id = started(SagaDefinition.create("looks_up", [step]).spec())
    attempt = claims.claim(store.load(execution_id), 0, Direction.DO)

    calls.run_function(look_up, engine.payload(attempt), limit_sec=5, max_output_bytes=1_000)

    said = [record for record in caplog.records if record.name == "sagas.calls"]
    assert [(record.execution_id, record.step_id) for record in said] == [(execution_id, "a")] * is_logged
    assert not is_logged or "in look_up" in caplog.text


def test_a_signal_that_nothing_waits_for_is_refused_by_name():
    execution_id = started("approval")

    with pytest.raises(IntegrationError, match=r"^E11412: no step of approval waits for signal:aproved \(it has: signal:approved\)"):
        signals.give(execution_id, "aproved")


# --- who is away --------------------------------------------------------------------------------------------------------


def test_a_service_in_maintenance_costs_no_attempt():
    fleet.forget()
    info = samples.register("L99_away", "http://127.0.0.1:9")
    maintenance.begin(info.service_id, minutes=30, reason="new disks", by="ann")
    lookup.forget()
    step = SagaStep(step_id="book", service_name="L99_away", endpoint="PUT /bookings/7", compensation_endpoint="DELETE /bookings/7")
    execution_id = started(SagaDefinition.create("books_later", [step]).spec())

    found = drive(execution_id)

    assert (found["status"], found["steps"][0]["attempts"]) == ("waiting", 0)
    assert SagaTransition.objects.filter(execution=execution_id, new="waiting", reason__contains="maintenance").exists()
    assert why_saga_of(execution_id).because == "step book is held: every instance of L99_away is in maintenance"


def test_what_is_held_asks_again_within_a_minute_or_so():
    held = calls.ended_by_exception(CircuitOpen(ErrorCode.BREAKER_OPEN, "open", retry_after_sec=600))

    assert (held.outcome, held.retry_after_sec) == ("held", 60)


# --- a database that was put back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("say", [lambda **attempt: tasks.finish(None, **attempt), lambda **attempt: tasks.failed("some-task", **attempt)])
def test_the_end_of_an_undo_is_not_taken_for_that_of_an_action_under_the_same_number(say):
    execution_id = started("three_steps")
    attempt = claims.claim(store.load(execution_id), 0, Direction.DO)

    say(execution_id=execution_id, index=0, direction="undo", epoch=attempt.epoch)

    assert services.status(execution_id)["steps"][0]["status"] == "running"
    assert SagaTransition.objects.filter(execution=execution_id, reason="late reply").count() == 1
