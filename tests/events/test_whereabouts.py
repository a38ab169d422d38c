"""What became of one event, as a layer's author asks it."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import transaction

from hub.errors import IntegrationError
from hub.events import deadletters, subscriptions, whereabouts
from hub.events.models import DeadLetter, Event
from hub.redis_client import client
from tests.events.helpers import deliver_all, fail_until_dead, publish, relay_round, subscribed

pytestmark = pytest.mark.django_db(transaction=True)


def test_each_subscription_says_where_the_event_stands_and_why():
    subscribed("gets")
    [event_id] = publish()
    relay_round()
    deliver_all()
    subscribed("late")
    subscribed("waits")
    subscriptions.pause("waits")
    [second] = publish()
    relay_round()

    first, other = whereabouts.of(event_id), whereabouts.of(second)

    assert [(one.subscription, one.status, one.state) for one in first.deliveries] == [("gets", "delivered", "active")]
    assert first.without == ["late", "waits"]
    assert {one.subscription: (one.status, one.state) for one in other.deliveries} == {
        "gets": ("sending", "active"),
        "late": ("sending", "active"),
        "waits": ("pending", "paused"),
    }
    assert other.without == []


def test_a_dead_letter_and_its_correction_are_found_by_the_first_event():
    subscribed(max_attempts=1)
    [event_id] = publish()
    relay_round()
    fail_until_dead("KeyError: 'name'")
    letter = DeadLetter.objects.get()

    [dead] = whereabouts.of(event_id).deliveries
    deadletters.edit_and_replay(letter.pk, {"name": "mended"}, by="ann")
    [again] = whereabouts.of(event_id).deliveries

    assert (dead.status, dead.error, dead.dead_letter) == ("dead", "KeyError: 'name'", letter.pk)
    assert (again.status, again.event_id) == ("pending", deadletters.find(letter.pk).edited_event.event_id)


def test_an_event_that_is_not_stored_is_on_its_way_unwanted_or_unknown():
    with transaction.atomic():
        [inside] = publish()
        assert "committed, and not in the stream yet" in whereabouts.of(inside).how_far
    relay_round()

    assert "no durable subscription matches" in whereabouts.of(inside).how_far
    client().flushdb()
    with pytest.raises(IntegrationError, match="E11920"):
        whereabouts.of(inside)
    with pytest.raises(IntegrationError, match="E11104"):
        whereabouts.of("a\0b")


def test_the_command_and_the_page_of_the_event_show_it(page):
    subscribed()
    [event_id] = publish()
    relay_round()
    out = StringIO()

    call_command("events", "show", event_id, "--json", stdout=out)

    assert json.loads(out.getvalue())["deliveries"][0]["subscription"] == "l03"
    call_command("events", "show", event_id, stdout=out)
    assert "subscription  l03\n" in out.getvalue()
    address = f"/admin/events/delivery/?q={event_id}"
    assert address in page.get(f"/admin/events/event/{Event.objects.get().pk}/change/").content.decode()
    assert "l03" in page.get(address).content.decode()
