"""Every bad input of the bus gets its code and has no effect."""

from pathlib import Path

import pytest

from hub.errors import IntegrationError
from hub.events import bus, dispatch, handlers, stream, subscriptions, tasks
from hub.events.models import DeadLetter, Delivery, Event, OutboxEvent, Subscription
from hub.events.relay import Relay
from hub.events.subscriptions import Policy
from hub.events.targets import HandlerTarget, TaskTarget
from hub.redis_client import client
from tests.events.helpers import event, publish, relay_round, send_again, subscribed, under_way
from tests.telemetry.compact import load

pytestmark = pytest.mark.django_db(transaction=True)

ENTRIES = load(Path(__file__).parent / "data" / "bad_inputs.json")
PUBLISHED = [entry for entry in ENTRIES if entry["surface"] == "event:publish" and "kwargs" in entry["input"]]
SUBSCRIBED = [entry for entry in ENTRIES if entry["surface"] == "event:subscribe" and "pattern" in entry["input"]]
SCENARIOS = {entry["input"]["scenario"]: entry["expect"] for entry in ENTRIES if "scenario" in entry["input"]}


def by_title(entry):
    return entry["title"]


@pytest.mark.parametrize("entry", PUBLISHED, ids=by_title)
def test_a_bad_event_is_refused(entry):
    with pytest.raises(IntegrationError) as caught:
        tasks.publish(**entry["input"]["kwargs"])

    assert (caught.value.code, caught.value.code.http, caught.value.code.retry) == tuple(
        entry["expect"][k] for k in ("code", "http", "retry")
    )
    assert len(str(caught.value)) < 500
    assert not client().exists(stream.STREAM)
    assert not OutboxEvent.objects.exists()


@pytest.mark.parametrize("entry", SUBSCRIBED, ids=by_title)
def test_a_bad_subscription_is_refused(entry):
    target = entry["input"].get("target", {"task": "l03.run"})

    with pytest.raises(IntegrationError) as caught:
        subscriptions.subscribe("bad", entry["input"]["pattern"], TaskTarget(task=target["task"], queue="l03"))

    assert (caught.value.code, caught.value.code.retry) == (entry["expect"]["code"], entry["expect"]["retry"])
    assert not Subscription.objects.exists()


def test_every_entry_is_tested():
    assert len(PUBLISHED) + len(SUBSCRIBED) + len(SCENARIOS) == len(ENTRIES)
    assert set(SCENARIOS) == {"event_loop", "burst", "handler_always_fails"}


def test_a_handler_that_publishes_the_event_it_handles_ends_at_the_hop_limit_in_one_dead_letter(monkeypatch):
    monkeypatch.setattr(handlers, "_handlers", {})
    handlers.event_handler("echo")(bus.publish)
    subscriptions.subscribe("echo", "agent.*", HandlerTarget(handler="echo"), policy=Policy(retry_delay_sec=0.01))
    running = Relay()
    publish()

    for _ in range(40):
        running.round(block_ms=0)
        for row in under_way():
            dispatch.run_handler(row.pk, row.attempts)

    letter = DeadLetter.objects.get()
    assert letter.error_code == SCENARIOS["event_loop"]["code"]
    assert letter.event.hops == 16
    assert "chain of causes" in letter.hint
    assert Event.objects.count() == Delivery.objects.count() == 17


def test_a_burst_above_the_limit_is_refused_and_what_was_accepted_is_delivered(settings):
    settings.HUB = settings.HUB.model_copy(update={"event_max_per_sec": 50})
    subscribed(max_in_flight=10_000)
    relay_round()
    accepted, refused = [], set()
    for _ in range(300):
        try:
            accepted.append(bus.publish(event(source_service="L02")))
        except IntegrationError as exc:
            refused.add(str(exc.code))

    for _ in range(5):
        relay_round()

    assert refused == {SCENARIOS["burst"]["code"]}
    assert [row.event.event_id for row in Delivery.objects.select_related("event").order_by("position")] == accepted


def test_a_handler_that_always_fails_is_one_dead_letter_and_delays_nobody(monkeypatch):
    monkeypatch.setattr(handlers, "_handlers", {})
    calls = []

    @handlers.event_handler("always.fails")
    def always_fails(message):
        calls.append("bad")
        raise ValueError("no")

    handlers.event_handler("fine")(lambda message: calls.append("good"))
    subscriptions.subscribe("bad", "agent.*", HandlerTarget(handler="always.fails"), policy=Policy(max_attempts=3, retry_delay_sec=0.01))
    subscriptions.subscribe("good", "agent.*", HandlerTarget(handler="fine"))
    publish()
    relay_round()

    while rows := under_way():
        for row in rows:
            dispatch.run_handler(row.pk, row.attempts)
        send_again(hours=1)

    assert (calls.count("bad"), calls.count("good")) == (3, 1)
    letter = DeadLetter.objects.get()
    assert letter.error_code == SCENARIOS["handler_always_fails"]["code"]
    assert letter.error == "ValueError: no"


@pytest.mark.parametrize("publish_one", [bus.publish, bus.publish_from_outside, lambda one: bus.publish_many_from_outside([one])])
def test_what_is_no_event_is_refused_with_its_type(publish_one):
    with pytest.raises(IntegrationError, match=r"^E11902: an event must be an EventMessage, not dict"):
        publish_one({})

    assert not client().exists(stream.STREAM)
