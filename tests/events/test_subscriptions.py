"""Durable subscriptions while relays run: made, changed, asked about and removed, with a real Redis."""

from __future__ import annotations

import json
import threading

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection

from hub.events import subscriptions
from hub.events.models import Delivery, Event, Subscription
from hub.events.relay import Relay
from tests.events.helpers import now, publish, relay_round, subscribed

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_event_from_before_the_subscription_is_not_delivered():
    publish("agent.created")
    subscribed()
    [later] = publish("agent.created")

    relay_round()

    assert [row.event.event_id for row in Delivery.objects.all()] == [later]


def test_a_subscription_gets_what_is_published_right_after_it_was_made_by_a_relay_that_runs_already():
    running = Relay()
    publish()
    running.round(block_ms=0)

    subscribed()
    publish()
    running.round(block_ms=0)

    assert Delivery.objects.count() == 1


def test_to_subscribe_again_in_the_same_way_changes_nothing():
    before = subscribed()

    again = subscribed()

    assert Subscription.objects.get().updated_at == before.updated_at
    assert again == before
    subscribed(max_attempts=9)
    assert Subscription.objects.get().updated_at > before.updated_at


def test_a_change_counts_whatever_the_time_of_its_writers_clock():
    subscribed("made-by-a-fast-clock", "other.*")
    Subscription.objects.update(updated_at=now(seconds=90))
    subscribed("one", "old.*")
    running = Relay()
    running.round(block_ms=0)

    row = Subscription.objects.get(name="one")
    row.pattern = "agent.*"
    row.save()
    publish()
    running.round(block_ms=0)

    assert Delivery.objects.get().subscription.name == "one"


def test_who_would_get_this():
    subscribed("one", "agent.*")
    subscribed("two", "agent.created")
    subscribed("three", "order.*")

    audience = subscriptions.who_would_get("agent.created")

    assert (audience.durable, audience.live) == (["one", "two"], 0)


def test_a_subscription_is_removed_while_a_relay_stores_a_delivery_of_it():
    one, refused, threads = subscribed(), [], []
    publish()
    relay_round()
    other = Event.objects.create(event_id="other", topic="agent.a", event_type="created", source="L02", body={}, time=now())

    def store():
        try:
            Delivery.objects.create(subscription_id=one.pk, event=other, due_at=now())
        except IntegrityError as exc:
            refused.append(exc)
        finally:
            connection.close()

    def at_the_last_moment(execute, sql, *rest):
        if sql.startswith('DELETE FROM "events_subscription"'):
            threads.append(threading.Thread(target=store))
            threads[0].start()
            threads[0].join(timeout=1)  # whoever stores it first: what matters is that it is not in the way
        return execute(sql, *rest)

    with connection.execute_wrapper(at_the_last_moment):
        subscriptions.unsubscribe("l03")
    threads[0].join(timeout=30)

    assert not Subscription.objects.exists()
    assert not Delivery.objects.exists()
    assert len(refused) == 1


def test_the_command_lists_every_subscription(capsys):
    rows = [Subscription(name=f"l{number:03}", pattern="agent.*", kind="task", task="l03.run", queue="l03") for number in range(250)]
    Subscription.objects.bulk_create(rows)

    call_command("events", "list", "--json")

    assert len(json.loads(capsys.readouterr().out)) == 250
