"""A delivery from its first attempt to its end, with a real Redis; the subscriber's answers are given by hand."""

from __future__ import annotations

import pytest

from hub.events import deadletters, deliveries, dispatch, handlers, relay, stream, subscriptions
from hub.events.models import DeadLetter, Delivery
from hub.events.relay import Relay
from hub.events.targets import HandlerTarget, HttpTarget
from hub.redis_client import client
from tests.events.hanging import HANDLER, event_handlers
from tests.events.helpers import fail_all, fail_until_dead, now, publish, queued, relay_round, send_again, subscribed, under_way
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_success_ends_the_delivery_and_is_counted_once():
    subscribed()
    publish()
    relay_round()
    [row] = under_way()

    dispatch.answer_delivered(row.pk)
    dispatch.answer_delivered(row.pk)

    row.refresh_from_db()
    assert row.status == "delivered"
    assert row.finished_at


def test_a_failure_is_sent_again_after_its_wait_to_that_subscription_only():
    subscribed("bad", retry_delay_sec=10)
    subscribed("good")
    publish()
    relay_round()
    bad, good = sorted(under_way(), key=lambda row: row.subscription.name)
    dispatch.answer_delivered(good.pk)

    dispatch.answer_failed(bad.pk, bad.attempts, error="ValueError: no", code=None)
    send_again(seconds=1)
    assert len(queued()) == 2
    send_again(seconds=11)

    assert len(queued()) == 3
    good.refresh_from_db()
    assert (good.status, good.attempts) == ("delivered", 1)


def test_a_handler_that_always_fails_is_a_dead_letter_once_with_each_attempt():
    subscribed(max_attempts=3)
    publish()
    relay_round()

    fail_until_dead("ValueError: no")

    letter = DeadLetter.objects.get()
    assert [one["number"] for one in letter.delivery.history] == [1, 2, 3]
    assert (letter.error_code, letter.deaths, letter.status) == ("E11143", 1, "open")
    assert Delivery.objects.get().status == "dead"


def test_a_success_that_comes_after_the_last_attempt_was_given_up_ends_the_dead_letter():
    subscribed(max_attempts=1)
    publish("agent.a", "agent.b")
    relay_round()
    late, discarded = under_way()
    fail_all("no answer from task l03.agents within 1 s")
    deadletters.discard(discarded.dead_letter.pk, reason="not wanted", by="ann")

    dispatch.answer_delivered(late.pk)
    dispatch.answer_delivered(discarded.pk)

    late.refresh_from_db()
    letter = DeadLetter.objects.get(delivery=late)
    assert (late.status, late.error, letter.status, letter.reason) == ("delivered", "", "resolved", "the subscriber answered after all")
    assert letter.decided_at, "its retention counts from here"
    discarded.refresh_from_db()
    assert (discarded.status, discarded.dead_letter.status, discarded.dead_letter.reason) == ("discarded", "discarded", "not wanted")


def test_an_answer_of_an_earlier_attempt_does_not_end_the_current_one():
    subscribed()
    publish()
    relay_round()
    [row] = under_way()
    fail_all()
    send_again(seconds=1)

    dispatch.answer_failed(row.pk, 1, error="late", code=None)

    [current] = under_way()
    assert (current.attempts, len(current.history)) == (2, 1)


def test_a_message_that_lies_in_its_queue_waits_and_one_that_vanished_is_sent_again():
    subscribed(timeout_sec=1)
    publish("agent.a", "agent.b")
    relay_round()
    first, second = under_way()
    client().lrem("l03", 1, client().lindex("l03", -1))

    dispatch.give_up_waiting(now=now(seconds=10))

    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, second.status) == ("pending", "sending")
    assert "no answer" in first.error


def test_what_a_relay_claimed_and_never_sent_costs_no_attempt_and_waits_for_no_subscriber():
    subscription = subscribed(max_attempts=1, timeout_sec=3_600)
    publish()
    Relay(claim_idle_ms=0)._take_new(block_ms=0)
    claimed = deliveries.claim(subscription, now=now(), limit=10, floor=stream.taken_over(), will_send=True)  # and then it was killed

    dispatch.give_up_waiting(now=now(seconds=2))
    assert Delivery.objects.get().status == "sending"
    dispatch.give_up_waiting(now=now(seconds=6))
    assert (Delivery.objects.get().status, Delivery.objects.get().attempts) == ("pending", 0)
    dispatch._send_all(subscription, claimed)  # it had only been stopped for a while

    assert queued() == []
    send_again(seconds=20)
    assert len(queued()) == 1
    dispatch.give_up_waiting(now=now(seconds=60))
    assert under_way()[0].attempts == 1


def test_no_more_are_under_way_than_the_subscription_takes():
    subscribed(max_in_flight=3)
    publish(*[f"agent.n{number}" for number in range(8)])

    relay_round()
    send_again()

    assert len(under_way()) == 3
    dispatch.answer_delivered(under_way()[0].pk)
    send_again()
    assert len(under_way()) == 3


def test_what_was_claimed_and_given_back_comes_before_what_is_younger():
    row = subscribed(target=HandlerTarget(handler="l03.agents"))
    publish("agent.a", "agent.b", "agent.c")
    relay_round()

    deliveries.release(deliveries.claim(row, now=now(), limit=2, floor=""))

    assert [one.event.topic for one in deliveries.claim(row, now=now(), limit=3, floor="")] == ["agent.a", "agent.b", "agent.c"]
    assert {one.attempts for one in under_way()} == {1}


def test_events_of_one_key_go_out_in_order_and_one_at_a_time():
    subscribed(ordering="key", ordering_key="agent")
    for number in range(3):
        publish("agent.created", payload={"agent": "a", "n": number})
        publish("agent.created", payload={"agent": "b", "n": number})
    relay_round()
    seen = []

    while rows := under_way():
        assert len({row.key for row in rows}) == len(rows)
        for row in rows:
            seen.append((row.key, row.event.body["data"]["n"]))
            dispatch.answer_delivered(row.pk)

    for key in ("a", "b"):
        assert [n for one, n in seen if one == key] == [0, 1, 2]
    assert len(seen) == 6


def test_an_ordered_subscription_waits_for_what_another_relay_has_not_stored_yet():
    subscribed(ordering="topic")
    relay_round()
    publish("agent.created")
    client().xreadgroup(relay.GROUP, "slow", {stream.STREAM: ">"})
    publish("agent.created")

    relay_round(Relay(claim_idle_ms=60_000))
    assert under_way() == []

    relay_round(Relay(claim_idle_ms=0))
    [first] = under_way()
    assert first.position == min(Delivery.objects.values_list("position", flat=True))


def test_a_paused_subscription_collects_and_catches_up():
    subscribed()
    subscriptions.pause("l03")
    publish("agent.a", "agent.b")
    relay_round()
    assert under_way() == []

    subscriptions.resume("l03")
    relay_round()

    assert len(under_way()) == 2


def test_an_http_subscription_is_a_routed_request_with_one_key_for_all_attempts():
    import base64
    import json

    subscribed("route", target=HttpTarget(service_name="L02_runtime", path="/events/agent"))
    publish()
    relay_round()

    [message] = [json.loads(text) for text in client().lrange("hub", 0, -1)]
    _, kwargs, embed = json.loads(base64.b64decode(message["body"]))
    assert message["headers"]["task"] == "hub.requests.route"
    assert (kwargs["service_name"], kwargs["method"], kwargs["path"]) == ("L02_runtime", "POST", "/events/agent")
    assert kwargs["data"]["topic"] == "agent.created"
    assert kwargs["idempotency_key"].startswith(f"event:{Delivery.objects.get().pk}:")
    assert [one["task"] for one in embed["callbacks"] + embed["errbacks"]] == ["hub.events.delivered", "hub.events.failed"]


def test_a_handler_that_hangs_does_not_keep_its_worker_for_ever(start_worker, monkeypatch):
    monkeypatch.setattr(handlers, "_handlers", {HANDLER: event_handlers.hang})  # of the relay
    start_worker(concurrency=1, env={"DJANGO_SETTINGS_MODULE": "tests.events.hanging.settings"})
    subscribed(target=HandlerTarget(handler=HANDLER), max_attempts=1, timeout_sec=0.5)
    publish(payload={"hangs": True})
    relay_round()
    publish(payload={"hangs": False})
    relay_round()

    wait_until(lambda: Delivery.objects.filter(status="delivered").exists(), timeout_sec=30, what="the event behind the one that hangs")


def test_a_handler_by_name_runs_on_a_worker_and_what_it_publishes_is_caused_by_the_event(monkeypatch):
    monkeypatch.setattr(handlers, "_handlers", {})
    seen = []

    @handlers.event_handler("tests.remember")
    def remember(message):
        seen.append(message)
        publish("order.opened")

    subscribed("inside", target=HandlerTarget(handler="tests.remember"))
    [event_id] = publish()
    relay_round()
    assert [headers["task"] for headers in queued("hub.events")] == ["hub.events.deliver"]
    [row] = under_way()

    dispatch.run_handler(row.pk, row.attempts)
    dispatch.run_handler(row.pk, row.attempts)

    assert [message.metadata.event_id for message in seen] == [event_id]
    caused = [fields for _, fields in client().xrange(stream.STREAM) if event_id in fields["e"]]
    assert len(caused) == 2
    row.refresh_from_db()
    assert row.status == "delivered"
