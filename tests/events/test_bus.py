import json
from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.db import transaction

from hub.errors import IntegrationError
from hub.events import bus, causes, outbox, stream, subscriptions, tasks
from hub.events.models import OutboxEvent
from hub.events.targets import TaskTarget
from hub.redis_client import client
from hub.telemetry import tracing
from tests.events.helpers import event

pytestmark = pytest.mark.django_db(transaction=True)


def in_stream():
    return [json.loads(fields["e"]) for _, fields in client().xrange(stream.STREAM)]


def test_a_published_event_is_in_the_stream_with_the_trace_it_was_published_in():
    with tracing.span("caller"):
        trace_id = tracing.trace_id()
        event_id = bus.publish(event(source_service="L02_runtime"))

    [wire] = in_stream()
    assert wire["id"] == event_id
    assert wire["traceparent"].split("-")[1] == trace_id


def test_the_same_event_twice_is_one_event():
    same = event()

    assert bus.publish(same) == bus.publish(same)
    assert len(in_stream()) == 1


@pytest.mark.parametrize(("message_id", "events"), [("4f1e0f7e-1f0a-4d0c-a5cb-4c0f6f0a7f55", 1), ("no id of an event", 2)])
def test_a_message_that_the_broker_hands_out_twice_is_one_event_if_its_id_can_be_that_of_one(message_id, events):
    asked = {"topic": "agent.created", "event_type": "created", "payload": {"agent_id": "a-1"}}

    for _ in range(2):
        tasks.publish.apply(kwargs=asked, task_id=message_id).get()

    assert len(in_stream()) == events


def test_the_same_id_with_another_content_is_refused():
    bus.publish(event(event_id="e-1"))

    with pytest.raises(IntegrationError) as caught:
        bus.publish(event(event_id="e-1", payload={"agent_id": "other"}))

    assert caught.value.code == "E11121"
    assert len(in_stream()) == 1


def test_more_than_the_limit_per_second_is_refused_and_what_was_accepted_is_there(settings):
    settings.HUB = settings.HUB.model_copy(update={"event_max_per_sec": 5})

    accepted, refused = 0, set()
    for _ in range(30):
        try:
            bus.publish(event(source_service="L02"))
            accepted += 1
        except IntegrationError as exc:
            refused.add(str(exc.code))

    assert refused == {"E11162"}
    assert len(in_stream()) == accepted


def test_many_events_go_out_in_order_and_a_refused_one_does_not_keep_the_others():
    bus.publish(event(event_id="taken", payload={"a": 1}))

    with pytest.raises(IntegrationError, match="E11121"):
        bus.publish_many([event(event_id="one"), event(event_id="taken", payload={"a": 2}), event(event_id="two")])

    assert [wire["id"] for wire in in_stream()] == ["taken", "one", "two"]


def test_a_full_stream_gives_up_what_was_read_and_never_what_was_not(settings):
    settings.HUB = settings.HUB.model_copy(update={"event_stream_max_length": 100})
    bus.publish_many([event() for _ in range(100)])
    positions = [position for position, _ in client().xrange(stream.STREAM)]
    client().set(stream.READ, positions[40])

    bus.publish(event())

    assert client().xlen(stream.STREAM) == 61
    bus.publish_many([event() for _ in range(39)])
    with pytest.raises(IntegrationError) as caught:
        bus.publish(event())
    assert caught.value.code == "E11163"


def test_the_first_durable_subscription_refuses_no_publisher_while_the_stream_is_full(settings):
    settings.HUB = settings.HUB.model_copy(update={"event_stream_max_length": 100})
    bus.publish_many([event() for _ in range(100)])  # nobody is durable: the oldest would be dropped for the next

    subscriptions.subscribe("first", "agent.*", TaskTarget(task="l03.on_created", queue="l03"))
    bus.publish_many([event() for _ in range(99)])  # before the relay has looked

    with pytest.raises(IntegrationError, match="E11163"):
        bus.publish_many([event() for _ in range(2)])  # the new subscriber is owed all of those


def test_topics_of_the_hub_are_refused_to_layers_only():
    with pytest.raises(IntegrationError) as caught:
        bus.publish_from_outside(event("hub.circuit.opened"))

    assert caught.value.code == "E11182"
    bus.publish(event("hub.circuit.opened"))


def test_inside_a_transaction_an_event_goes_out_with_the_commit():
    with transaction.atomic():
        bus.publish(event())
        assert in_stream() == []

    assert len(in_stream()) == 1
    assert not OutboxEvent.objects.exists()


def test_a_rolled_back_event_is_never_sent():
    with transaction.atomic():
        bus.publish(event())
        transaction.set_rollback(True)

    assert in_stream() == []
    assert not OutboxEvent.objects.exists()


def test_what_a_publisher_left_behind_after_its_commit_is_sent_once():
    with transaction.atomic():
        bus.publish(event())
        transaction.get_connection().run_on_commit.clear()
    assert in_stream() == []

    later = datetime.now(UTC) + timedelta(seconds=10)
    assert outbox.send_left(now=datetime.now(UTC)) == 0
    assert outbox.send_left(now=later) == 1
    assert outbox.send_left(now=later) == 0
    assert len(in_stream()) == 1


def test_a_row_of_the_outbox_that_is_no_event_does_not_hold_up_those_behind_it(caplog):
    OutboxEvent.objects.create(event_id="of-another-version", body='{"topic": "agent.created"}')
    with transaction.atomic():
        bus.publish(event())
        transaction.get_connection().run_on_commit.clear()

    assert outbox.send_left(now=datetime.now(UTC) + timedelta(seconds=10)) == 1

    assert not OutboxEvent.objects.exists()
    assert "of-another-version" in [getattr(record, "event_id", "") for record in caplog.records]


def test_an_id_that_is_used_again_in_a_transaction_for_another_content_is_refused():
    with transaction.atomic():
        bus.publish(event(event_id="order-7"))
        bus.publish(event(event_id="order-7"))
        with pytest.raises(IntegrationError, match="E11121"):
            bus.publish(event("agent.started", event_id="order-7"))

    assert [wire["topic"] for wire in in_stream()] == ["agent.created"]


def test_what_is_published_while_an_event_is_handled_is_caused_by_it():
    cause = event(correlation_id="order-7")

    with causes.handling(cause):
        bus.publish(event("agent.started"))

    [wire] = in_stream()
    assert (wire["causationid"], wire["correlationid"], wire["hops"]) == (cause.metadata.event_id, "order-7", 1)


def test_without_redis_the_event_is_not_accepted_and_may_be_published_again(monkeypatch):
    gone = redis.Redis(port=1, socket_connect_timeout=0.2, retry=None)
    monkeypatch.setattr("hub.events.transport.client", lambda: gone)

    with pytest.raises(IntegrationError) as caught:
        bus.publish(event())

    assert caught.value.code == "E11140"
    assert caught.value.code.retry == "same_key"
