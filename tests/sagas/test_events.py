"""Events that runs wait for: whose they are, when they come early, twice, late or to many."""

from __future__ import annotations

import pytest

from hub import SagaDefinition, SagaStep
from hub.diagnosis.sagas import why_saga_of
from hub.events import bus, subscriptions
from hub.events.messages import EventMessage
from sagas import calls, chain, claims, engine, event_handlers, listening, services, signals, store
from sagas.models import SagaExecution
from sagas.states import Direction
from tests.sagas.driven import drive, look, started

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]


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
