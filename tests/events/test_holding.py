"""A subscription waits while its subscriber is known to be away, and goes on when it is back; the answers are given by hand."""

from __future__ import annotations

import pytest

from hub.errors import IntegrationError
from hub.events import deliveries, dispatch, durable, handlers
from hub.events.models import DeadLetter, Subscription
from hub.events.retries import code_in
from hub.events.targets import HandlerTarget
from tests.events.helpers import fail_all, now, publish, queued, relay_round, send_again, subscribed, under_way

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_open_breaker_holds_the_subscription_and_costs_no_attempt():
    subscribed(max_attempts=2, retry_delay_sec=5)
    publish("agent.a", "agent.b")
    relay_round()

    for _ in range(5):
        fail_all("CircuitOpen: E11220: breaker of L02 is open")
        send_again(minutes=30)

    assert not DeadLetter.objects.exists()
    assert {row.attempts for row in under_way()} == {1}
    assert "E11220" in Subscription.objects.get().held_reason


def test_a_service_that_left_the_registry_is_waited_for_like_one_that_is_unwell():
    subscribed(retry_delay_sec=5)
    publish("agent.a")
    relay_round()

    fail_all("E11020: no service 'L03' is registered")

    assert not DeadLetter.objects.exists()
    assert "E11020" in Subscription.objects.get().held_reason
    send_again(seconds=10)
    assert len(under_way()) == 1


def test_a_held_subscription_sends_nothing_before_its_time():
    subscribed(retry_delay_sec=60)
    publish("agent.a")
    relay_round()
    fail_all("E11220: open")
    publish("agent.b")

    relay_round()

    assert under_way() == []
    send_again(seconds=61)
    assert len(under_way()) == 1


@pytest.mark.parametrize("answer", [None, "ValueError: no"])
def test_of_a_held_subscription_one_delivery_sees_whether_its_service_is_back(answer):
    subscribed(retry_delay_sec=5)
    publish("agent.a", "agent.b", "agent.c")
    relay_round()
    fail_all("E11220: open")
    send_again(seconds=10)
    [probe] = under_way()

    if answer is None:
        deliveries.delivered([probe.pk], now=now(seconds=10))
    else:
        fail_all(answer, seconds=10)

    row = Subscription.objects.get()
    assert (row.held_until, row.held_reason) == (None, "")
    send_again(seconds=11)
    assert len(under_way()) == 2


def test_an_event_waits_for_a_worker_of_the_version_that_has_its_handler(monkeypatch):
    monkeypatch.setattr(handlers, "_handlers", {"billing.new": publish})  # of the relay
    subscribed(target=HandlerTarget(handler="billing.new"))
    publish("agent.a")
    relay_round()
    [row] = under_way()

    monkeypatch.setattr(handlers, "_handlers", {})  # of a worker that was not started again yet
    dispatch.run_handler(row.pk, row.attempts)

    row.refresh_from_db()
    assert (row.status, row.attempts) == ("pending", 0)
    assert "billing.new" in Subscription.objects.get().held_reason


def test_the_event_that_was_held_asks_after_the_others_of_its_ordered_subscription():
    subscribed(ordering="topic", retry_delay_sec=5)
    publish("agent.a", "agent.b")
    relay_round()
    fail_all("E11220: open")

    send_again(seconds=20)
    [first] = under_way()
    fail_all("E11220: open", seconds=20)
    send_again(seconds=40)
    [second] = under_way()

    assert first.key != second.key


def test_a_process_fetches_nothing_of_a_held_subscription_before_its_time():
    subscribed(target=HandlerTarget(handler="l03.agents"), retry_delay_sec=60)
    publish("agent.a")
    relay_round()
    durable.fetch("l03")
    fail_all("E11220: open")
    publish("agent.b")
    relay_round()

    assert durable.fetch("l03") == []


def test_a_process_leaves_alone_what_goes_elsewhere_now():
    subscribed(target=HandlerTarget(handler="l03"))
    subscribed()
    publish()
    relay_round()
    fail_all()

    with pytest.raises(IntegrationError, match=r"E11921: l03 goes to l03\.on_event"):
        durable.fetch("l03")

    send_again(seconds=1)
    assert len(queued()) == 2


def test_a_long_wait_between_attempts_is_none_for_a_service_that_is_back():
    subscribed(retry_delay_sec=3_600, retry_max_delay_sec=3_600)
    publish()
    relay_round()

    fail_all("E11220: open")

    assert Subscription.objects.get().held_until <= now(seconds=30)


def test_an_answer_from_before_the_hold_does_not_end_it():
    subscribed(retry_delay_sec=60)
    publish("agent.a", "agent.b")
    relay_round()
    first, second = under_way()
    deliveries.failed(first.pk, 1, error="E11220: open", code=code_in("E11220: open"), now=now())

    deliveries.delivered([second.pk], now=now())

    assert Subscription.objects.get().held_until is not None
