"""From the stream to the subscriber's queue, with a real Redis; the subscriber's answers are given by hand."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest
import time_machine
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from hub import prepared
from hub.errors import IntegrationError
from hub.events import bus, deliveries, dispatch, intake, outbox, relay, retention, stream, subscriptions, topic_counts
from hub.events.models import DeadLetter, Delivery, Event, OutboxEvent, Topic
from hub.events.relay import Relay
from hub.events.targets import TaskTarget
from hub.json_values import SEALED
from hub.redis_client import client
from hub.telemetry import metric_store, metrics
from tests.events.helpers import deliver_all, event, now, publish, queued, relay_round, send_again, subscribed, under_way
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_event_goes_to_every_subscription_that_matches_and_to_no_other():
    subscribed("one", "agent.*")
    subscribed("all", "agent.**")
    subscribed("other", "order.*")
    [event_id] = publish("agent.created")

    relay_round()

    assert {row.subscription.name for row in Delivery.objects.select_related("subscription")} == {"one", "all"}
    assert Event.objects.get().event_id == event_id
    assert len(queued()) == 2
    assert all("agent-123" not in str(headers) for headers in queued())


def test_a_batch_that_many_want_is_taken_over_in_portions(monkeypatch):
    monkeypatch.setattr(intake, "MOST_DELIVERIES", 4)
    for number in range(3):
        subscribed(f"l03.{number}")
    ids, member = publish(*["agent.created"] * 5), Relay()

    taken = [member.round(block_ms=0).taken for _ in range(4)]

    assert taken == [2, 2, 1, 0]
    assert list(Event.objects.order_by("position").values_list("event_id", flat=True)) == ids
    assert Delivery.objects.count() == 15
    assert relay.behind() == (0, None)


def test_a_portion_of_an_event_that_is_none_ends_too(monkeypatch):
    monkeypatch.setattr(intake, "MOST_DELIVERIES", 1)
    subscribed()
    publish()
    client().xadd(stream.STREAM, {"e": "no event"})
    publish("agent.two")
    member = Relay()

    assert [member.round(block_ms=0).taken for _ in range(3)] == [1, 2, 0]
    assert relay.behind() == (0, None)


def test_a_round_sends_for_a_while_only_and_the_next_ones_go_on_with_the_others(monkeypatch):
    monkeypatch.setattr(dispatch, "SENDING_SEC", 0.0)
    for number in range(3):
        subscribed(f"l03.{number}")
    publish()
    member = Relay()

    assert [member.round(block_ms=0).sent for _ in range(4)] == [1, 1, 1, 0]
    assert len(queued()) == 3


def test_a_row_that_is_no_event_ends_in_the_dead_letters_and_no_relay():
    subscribed("odd", max_attempts=1)
    publish("agent.odd")
    member = Relay()
    member._take_new(block_ms=0)
    Event.objects.update(body=["of another version"])
    publish("agent.good")

    relay_round(member)

    assert DeadLetter.objects.get().event.topic == "agent.odd"
    assert len(queued()) == 1


def test_a_queue_name_that_is_something_else_in_redis_holds_up_nobody_else():
    subscribed("wrong", target=TaskTarget(task="l04.on_event", queue="l04"))
    subscribed("right")
    client().set("l04", "no list")
    publish()

    relay_round()

    assert [headers["task"] for headers in queued()] == ["l03.on_event"]
    letter = DeadLetter.objects.get()
    assert (letter.subscription.name, letter.error_code) == ("wrong", "E11106")
    assert "'l04'" in letter.error


def test_the_message_carries_the_trace_of_the_publisher():
    subscribed()
    publish(trace_id="4bf92f3577b34da6a3ce929d0e0e4736")
    from hub.telemetry import tracing

    with tracing.span("publisher"):
        trace_id = tracing.trace_id()
        publish("agent.traced")

    relay_round()

    assert queued()[1]["traceparent"].split("-")[1] == trace_id


def test_an_event_that_counts_its_hops_below_zero_does_not_hold_up_those_behind_it():
    subscribed()
    bus.publish(event().with_metadata(hops=-1))
    publish()

    relay_round()

    assert len(queued()) == 2
    assert {row.hops for row in Event.objects.all()} == {0}


def test_what_gathered_in_the_outbox_while_redis_was_away_goes_out_round_after_round(monkeypatch):
    monkeypatch.setattr(outbox, "BATCH", 2)
    with transaction.atomic():
        publish(*["agent.a"] * 5)
        connection.run_on_commit.clear()
    OutboxEvent.objects.update(created_at=now(minutes=-1))

    running = Relay()

    assert [running.round(block_ms=0).outbox for _ in range(4)] == [2, 2, 1, 0]


def test_an_event_that_this_version_cannot_read_is_a_dead_letter_and_holds_up_no_other():
    subscribed()
    subscriptions.pause("l03")
    [old, new] = publish("agent.a", "agent.b")
    relay_round()
    Event.objects.filter(event_id=old).update(body={"id": old, "type": "created", "topic": "agent.a", "time": "2026-11-01T00:00:00"})
    subscriptions.resume("l03")

    relay_round()

    assert [row.event.event_id for row in under_way()] == [new]
    assert DeadLetter.objects.get().error.startswith("IntegrationError: E11909")
    assert len(queued()) == 1


def test_an_entry_that_is_read_twice_makes_one_delivery():
    subscribed()
    publish()
    relay_round()
    client().xgroup_destroy(stream.STREAM, relay.GROUP)

    relay_round()

    assert Delivery.objects.count() == Event.objects.count() == 1
    assert len(queued()) == 1


def test_what_a_dead_relay_was_given_is_taken_over_by_another():
    subscribed()
    relay_round()
    publish()
    client().xreadgroup(relay.GROUP, "died-here", {stream.STREAM: ">"})
    assert relay.behind()[0] == 1

    relay_round(Relay(claim_idle_ms=0))

    assert Delivery.objects.count() == 1
    assert relay.behind() == (0, None)


def test_when_redis_comes_back_empty_the_relay_goes_on():
    subscribed()
    publish()
    running = Relay()
    running.round(block_ms=0)
    client().flushdb()

    publish()
    running.round(block_ms=0)

    assert Delivery.objects.count() == 2


def test_a_batch_that_could_not_be_stored_comes_again(monkeypatch):
    subscribed("one", "agent.*")
    running = Relay(claim_idle_ms=60_000)
    publish()
    with monkeypatch.context() as broken:
        broken.setattr(Event._meta, "db_table", "hub_no_such_table")
        prepared.insert_sql.cache_clear()
        with pytest.raises(DatabaseError):
            running.round(block_ms=0)
    prepared.insert_sql.cache_clear()

    running.round(block_ms=0)

    assert Delivery.objects.get().event.topic == "agent.created"
    assert client().xpending(stream.STREAM, relay.GROUP)["pending"] == 0


@pytest.mark.parametrize(
    "text",
    ["rubbish", "[" * 100_000, f'{{"a": {"[" * 700}{"]" * 700}, "b": {{"{SEALED}": 1}}}}'],
    ids=["rubbish", "deep", "deep and sealed"],
)
def test_what_is_no_event_does_not_stop_those_behind_it(text):
    subscribed("one", "agent.*")
    running = Relay(claim_idle_ms=60_000)
    client().xadd(stream.STREAM, {"e": text})
    publish()

    running.round(block_ms=0)

    assert Delivery.objects.get().event.topic == "agent.created"
    assert client().xpending(stream.STREAM, relay.GROUP)["pending"] == 0


def test_topics_that_nobody_durable_wants_are_listed():
    subscribed("one", "agent.*")
    publish("agent.created", "lonely.topic", "lonely.topic")

    relay_round()

    assert list(subscriptions.orphan_topics().values_list("name", "unwanted")) == [("lonely.topic", 2)]
    assert Topic.objects.get(name="agent.created").unwanted == 0


def test_the_list_of_topics_is_bounded(monkeypatch):
    monkeypatch.setattr(topic_counts, "MAX_TOPICS", 2)
    subscribed()
    publish("a.a", "b.b", "c.c")

    relay_round()

    assert Topic.objects.count() == 2


def test_the_stream_is_trimmed_by_age_and_never_before_the_relay_has_read(settings):
    publish(*["a.b"] * 3)
    [first, _, last] = [stream_id for stream_id, _ in client().xrange(stream.STREAM)]

    retention.trim_stream(taken_over=first, now=now(days=100))
    assert client().xlen(stream.STREAM) == 3
    retention.trim_stream(taken_over=last, now=now(days=1))
    assert client().xlen(stream.STREAM) == 3

    retention.trim_stream(taken_over=last, now=now(days=100))

    assert [stream_id for stream_id, _ in client().xrange(stream.STREAM)] == [last]


def test_being_behind_is_an_alarm(caplog):
    subscribed()
    relay_round()
    publish()

    unread, oldest = relay.behind()
    retention.watch(unread=unread, oldest_unread=oldest, now=now(minutes=5))

    assert unread == 1
    assert any(getattr(record, "code", "") == "E11141" for record in caplog.records)


def test_what_redis_cannot_say_of_the_lag_is_counted(own_redis):
    relay.ensure_group()
    publish(*[f"agent.n{number}" for number in range(250)])
    ids = [stream_id for stream_id, _ in client().xrange(stream.STREAM)]
    client().xdel(stream.STREAM, ids[100])
    assert client().xinfo_groups(stream.STREAM)[0].get("lag") is None

    assert relay.behind() == (249, ids[0])


def test_how_far_a_subscription_is_behind_comes_down_again():
    def gauges():
        retention.watch(unread=0, oldest_unread=None, now=now(seconds=600))
        metrics.flush()
        retention.watch(unread=0, oldest_unread=None, now=now(seconds=600))
        found = metric_store.read([retention.OLDEST])[retention.OLDEST]
        return {one.labels["subscription"]: round(one.value, -1) for one in found}

    subscribed("one", "agent.*")
    subscribed("two", "order.*")
    publish()
    relay_round()
    assert gauges() == {"one": 600, "two": 0}

    deliveries.delivered([row.pk for row in under_way()], now=now())
    assert gauges() == {"one": 0, "two": 0}

    subscriptions.unsubscribe("one")
    assert gauges() == {"two": 0}


def test_what_is_finished_is_pruned_and_what_waits_for_a_person_is_not(settings):
    subscribed("good")
    subscribed("bad", max_attempts=1)
    publish()
    relay_round()
    bad, good = sorted(under_way(), key=lambda row: row.subscription.name)
    dispatch.answer_delivered(good.pk)
    dispatch.answer_failed(bad.pk, 1, error="no", code=None)

    removed = retention.prune(now=now(days=100))

    assert removed["deliveries"] == 1
    assert Event.objects.count() == DeadLetter.objects.count() == 1


def test_the_relay_runs_until_it_is_told_to_stop_and_delivers_within_a_second():
    subscribed()
    stop = threading.Event()
    running = threading.Thread(target=relay.run, args=(stop,))
    running.start()
    try:
        publish()
        give_up_at = time.monotonic() + 5
        while not queued() and time.monotonic() < give_up_at:
            time.sleep(0.01)
    finally:
        stop.set()
        running.join(5)

    assert len(queued()) == 1
    assert not running.is_alive()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="asks SQLite for its plan")
@pytest.mark.parametrize("ordering", ["", "topic"])
def test_what_was_delivered_before_makes_no_round_slower(ordering):
    subscribed(ordering=ordering)
    publish()
    relay_round(Relay())

    with CaptureQueriesContext(connection) as queries:
        send_again(hours=1)

    with connection.cursor() as cursor:
        for sql in [query["sql"] for query in queries if query["sql"].startswith("SELECT")]:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = " ".join(str(row[3]) for row in cursor.fetchall())
            assert "SCAN events_delivery" not in plan, plan
            assert "sqlite_autoindex_events_delivery" not in plan, plan


def test_a_redis_that_is_full_of_events_gives_up_those_that_were_taken_over(own_redis):
    subscribed()
    subscriptions.pause("l03")
    relay_round()
    client().config_set("maxmemory", client().info("memory")["used_memory"] + 2_000_000)
    with pytest.raises(IntegrationError, match=r"^E11140: .*no memory left"):
        fill()

    stop = threading.Event()
    running = threading.Thread(target=relay.run, args=[stop])
    running.start()
    try:
        [event_id] = wait_until(published, timeout_sec=20, what="an event taken again")
    finally:
        stop.set()
        running.join(20)

    wait_until(lambda: Event.objects.filter(event_id=event_id).exists() or relay_round(), timeout_sec=20, what="the event as a row")


def fill():
    for _ in range(100):
        publish(payload={"text": "x" * 200_000})


def published():
    with suppress(IntegrationError):
        return publish(payload={"text": "x" * 200_000})
    return None


def test_what_had_become_rows_goes_on_in_its_order_after_redis_came_back_empty():
    subscribed(ordering="topic")
    publish("agent.a", "agent.a")
    running = Relay(claim_idle_ms=0)
    relay_round(running)
    deliver_all()
    [last] = under_way()
    deliveries.failed(last.pk, last.attempts, error="ValueError: no", code=None, now=now(minutes=-1))

    client().flushdb()
    back = Relay(claim_idle_ms=0)
    relay_round(back)
    relay_round(back)

    assert [row.pk for row in under_way()] == [last.pk]


def test_a_relay_whose_machine_is_ahead_gives_up_nobody_who_has_time_left():
    subscribed()
    publish()
    relay_round()
    client().delete("l03")

    with time_machine.travel(now(minutes=5)):
        relay_round()

    assert [(row.status, row.attempts) for row in Delivery.objects.all()] == [("sending", 1)]


def test_what_a_worker_failed_at_whose_machine_is_ahead_is_not_late_for_it():
    subscribed()
    publish()
    relay_round()
    [row] = under_way()

    with time_machine.travel(now(minutes=5)):
        dispatch.answer_failed(row.pk, row.attempts, error="ValueError: no", code=None)

    assert Delivery.objects.get().due_at < now(minutes=1)


def test_what_another_secret_key_sealed_is_delivered_to_nobody(settings):
    """The subscriber would take the seal for the password; where the key is the old one, the dead letter can be replayed."""
    subscribed(max_attempts=1)
    bus.publish(event(payload={"password": "open sesame"}))
    relay_round(Relay())
    [row] = under_way()
    deliveries.release([row])
    client().delete("l03")

    settings.SECRET_KEY = "the key of a machine that was set up by itself"
    relay_round()

    assert queued() == []
    letter = DeadLetter.objects.get()
    assert letter.error_code == "E11125"
    assert "HUB_SECRET_KEY" in letter.error
