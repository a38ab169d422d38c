"""What one process at a time makes of a run: operators, locks of children, events of a batch, deadlines of what was parked."""

from __future__ import annotations

from functools import partial

import pytest

from hub import SagaDefinition, SagaStep
from hub.circuits import fleet
from hub.diagnosis.sagas import why_saga_of
from hub.errors import CircuitOpen, ErrorCode, IntegrationError
from hub.events import bus, subscriptions
from hub.events.messages import EventMessage
from registry_app import lookup, maintenance
from sagas import calls, chain, claims, engine, event_handlers, listening, recovery, roster, services, signals, store
from sagas.models import SagaExecution, SagaLock, SagaTransition
from sagas.states import Direction
from tests.processes import wait_until
from tests.registry import samples
from tests.sagas import ledger
from tests.sagas.driven import at_one_time, children_of, drive, look, park, started, turn

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


# --- runs again ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [services.retry, services.compensate, lambda run, **why: services.skip(run, "b", **why)])
def test_what_a_rerun_stands_on_is_left_alone(verb):
    execution_id = started("no_undo", {"plan": {"b": "fail"}})
    assert drive(execution_id)["status"] == "failed"
    new = services.rerun(execution_id, "b", reason="smaller image", changes={"plan": {}})["execution_id"]

    with pytest.raises(IntegrationError, match=f"^E11425: saga {execution_id} was run again as {new}"):
        verb(execution_id, reason="clean up")

    assert drive(new)["status"] == "completed"
    assert "a.undo" not in ledger.effects(execution_id)
    assert services.resolve(execution_id, "completed", reason="see the other one")["status"] == "completed"


def test_of_two_operators_at_one_time_one_runs_again_or_one_undoes():
    for _ in range(10):
        execution_id = started("no_undo", {"plan": {"b": "fail"}})
        drive(execution_id)
        verbs = (partial(services.rerun, from_step="b"), services.compensate)

        refused = at_one_time(*(partial(verb, execution_id, reason="put right") for verb in verbs))

        assert [exc.code for exc in refused] == [ErrorCode.TRANSITION_ILLEGAL]
        was_undone = services.status(execution_id)["status"] != "failed"
        assert was_undone is not SagaExecution.objects.filter(rerun_of=execution_id).exists()


def test_of_two_operators_at_one_time_one_runs_again():
    execution_id = started("no_undo", {"plan": {"b": "fail"}})
    drive(execution_id)
    again = partial(services.rerun, execution_id, "b", reason="put right", changes={"plan": {}})

    refused = at_one_time(again, again)

    new = SagaExecution.objects.get(rerun_of=execution_id)
    assert [exc.code for exc in refused] == [ErrorCode.TRANSITION_ILLEGAL]
    assert f"was run again as {new.pk}, which has not ended" in refused[0].message
    assert drive(str(new.pk))["status"] == "completed"
    again()


def test_a_rerun_that_begins_with_a_wait_waits_at_once():
    execution_id = started("hears_late")
    drive(execution_id)
    wait_until(lambda: look(execution_id) or services.status(execution_id)["status"] == "failed", timeout_sec=5, what="its end")

    new = services.rerun(execution_id, "hear", reason="the signal comes now")["execution_id"]

    assert services.status(new)["status"] == "waiting"


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


def failed_with_its_child():
    """A run whose child failed and undid nothing, and that child."""
    execution_id = started("outer_kept", {"plan": {"y": "fail"}})
    turn(execution_id)
    (child,) = children_of(execution_id)
    drive(child), look(execution_id)
    assert [services.status(run)["status"] for run in (execution_id, child)] == ["failed", "failed"]
    return execution_id, child


@pytest.mark.parametrize("operate", [services.retry, services.compensate])
def test_a_child_that_was_run_again_is_neither_sent_on_nor_undone_with_its_parent(operate):
    execution_id, child = failed_with_its_child()
    drive(services.rerun(child, "y", reason="by itself", changes={"plan": {}})["execution_id"])

    operate(execution_id, reason="see what comes")
    drive(execution_id), drive(child), look(execution_id)

    assert ledger.effects(child) == ["x.do", "y.do"]
    assert services.status(child)["status"] == "failed"
    assert "was run again as" in str(services.status(execution_id)["steps"][0])


# --- events -------------------------------------------------------------------------------------------------------------


def test_an_event_of_a_large_batch_wakes_no_run_of_others():
    mine, other = (started("on_event", correlation_id=name) for name in ("batch-1", "another"))
    assert [drive(execution_id)["status"] for execution_id in (mine, other)] == ["waiting", "waiting"]
    for _ in range(services.PAGE):
        started("three_steps", correlation_id="batch-1")

    signals.event_came("agent.created", {"agent_id": "of batch-1"}, event_id="e1", correlation_id="batch-1")

    assert [services.status(execution_id)["context"].get("agent_id") for execution_id in (mine, other)] == ["of batch-1", None]


def test_events_that_a_run_does_not_take_send_nothing():
    """Or a talkative service would fill the queue in which the run's own message waits."""
    started("on_event", correlation_id="order-7")
    signals.event_came("agent.created", {}, event_id="e0", correlation_id="order-7")
    waiting = chain.backlog()

    for number in range(10):
        signals.event_came("agent.created", {}, event_id=f"e{number}", correlation_id="order-7")

    assert chain.backlog() == waiting


@pytest.mark.parametrize("correlation_id", [None, "batch-2"])
def test_a_run_that_cannot_be_told_of_an_event_keeps_no_other_from_it(correlation_id, caplog):
    """As one whose row another version of the code wrote."""
    runs = [started("on_event", correlation_id="batch-2") for _ in range(3)]
    assert [drive(execution_id)["status"] for execution_id in runs] == ["waiting"] * 3
    first, *others = sorted(runs) if correlation_id else runs  # in the order in which they are told
    SagaExecution.objects.filter(pk=first).update(signals={"event:agent.created": "of another version"})

    with pytest.raises(ValueError, match="unpack"):
        signals.event_came("agent.created", {"agent_id": "x"}, event_id="e1", correlation_id=correlation_id)

    assert [services.status(execution_id)["context"].get("agent_id") for execution_id in others] == ["x", "x"]
    assert [record.execution_id for record in caplog.records if record.name == "sagas.signals"] == [first]


def test_an_event_of_a_run_that_comes_before_its_wait_is_not_lost():
    """The service that a step asks may say that it is done before the step's own end is recorded."""
    execution_id = started("on_event", correlation_id="order-7")
    other = started("on_event", correlation_id="order-8")
    attempt = claims.claim(store.load(execution_id), 0, Direction.DO)

    event_handlers.event_came(EventMessage.create("agent.created", "created", {"agent_id": "agent-7"}, correlation_id="order-7"))
    engine.record(attempt, calls.Ended(outcome="ok"))

    assert drive(execution_id)["context"]["agent_id"] == "agent-7"
    assert services.status(execution_id)["status"] == "completed"
    assert drive(other)["status"] == "waiting"


@pytest.mark.parametrize("correlation_id", ["order 7", "ördér-7", "a\nb"])
def test_a_correlation_id_that_no_event_can_carry_is_replaced_and_not_in_the_way_of_a_step(correlation_id):
    execution_id = started("three_steps", correlation_id=correlation_id)
    attempt = claims.claim(store.load(execution_id), 0, Direction.DO)

    with attempt.span():
        published = bus.prepared(EventMessage.create("order.booked", "booked", {})).event

    assert published.metadata.correlation_id == services.status(execution_id)["correlation_id"] != correlation_id


def test_two_long_topics_that_begin_alike_are_both_listened_to():
    topics = [f"{'long' * 30}.{last}" for last in ("paid", "refused")]
    for topic in topics:
        listening.listen_for(SagaDefinition.create("long_topics", [SagaStep(step_id="w", wait_for=f"event:{topic}")]).spec())

    for topic in topics:
        assert len(subscriptions.who_would_get(topic).durable) == 1


def test_why_says_that_nothing_listens_for_what_a_run_waits_for():
    execution_id = started(SagaDefinition.create("paid", [SagaStep(step_id="w", wait_for="event:order.paid")]).spec())
    look(execution_id)
    assert "waits for event:order.paid; it is given up at" in str(why_saga_of(execution_id))

    subscriptions.pause("sagas:order.paid")
    assert "waits for event:order.paid, but the subscription sagas:order.paid is paused;" in str(why_saga_of(execution_id))

    subscriptions.unsubscribe("sagas:order.paid")
    assert "waits for event:order.paid, but the subscription sagas:order.paid was removed;" in str(why_saga_of(execution_id))


def test_an_event_that_the_bus_delivers_twice_ends_one_wait():
    steps = [SagaStep(step_id=name, wait_for="event:order.paid") for name in ("first", "second")]
    execution_id = started(SagaDefinition.create("paid_in_parts", steps).spec())
    look(execution_id)
    event = EventMessage.create("order.paid", "paid", {"part": 1})

    for delivered in (event, event, EventMessage.create("order.paid", "paid", {"part": 2})):
        event_handlers.event_came(delivered)

    found = services.status(execution_id)
    assert (found["status"], [step["output"] for step in found["steps"]]) == ("completed", [{"part": 1}, {"part": 2}])


def test_an_event_that_comes_while_a_run_stands_before_an_operator_is_kept():
    execution_id = started("delivered", {"plan": {"ship": "fail"}})
    assert drive(execution_id)["status"] == "needs_operator"

    signals.event_came("agent.created", {"agent_id": "agent-7"}, event_id="e2")
    SagaExecution.objects.filter(pk=execution_id).update(input={"plan": {}})
    services.retry(execution_id, reason="the carrier is back")

    assert drive(execution_id)["context"]["agent_id"] == "agent-7"
    assert services.status(execution_id)["status"] == "completed"


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


def test_what_is_held_asks_again_within_a_minute_or_so():
    held = calls.ended_by_exception(CircuitOpen(ErrorCode.BREAKER_OPEN, "open", retry_after_sec=600))

    assert (held.outcome, held.retry_after_sec) == ("held", 60)
