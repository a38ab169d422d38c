"""Signals, timers and events that a saga waits for, on real workers."""

from __future__ import annotations

import pytest

from hub import EventMessage
from hub.errors import ErrorCode, IntegrationError
from hub.events import bus
from sagas import services, signals
from tests.processes import wait_until
from tests.sagas import ledger
from tests.sagas.test_engine import ended, run, status_of

pytestmark = pytest.mark.django_db(transaction=True)


def waits(execution_id):
    return wait_until(lambda: status_of(execution_id) == "waiting", what="the saga to wait")


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
