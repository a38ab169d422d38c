"""Who would get this, and the past for a subscription: as pages and as a command."""

import json
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.urls import reverse

from hub.events.models import Delivery
from tests.events.helpers import now, publish, relay_round, subscribed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def late():
    """A subscription that was made after two events were published."""
    publish("agent.a", "agent.b", "order.paid")
    row = subscribed("late", "agent.*")
    relay_round()
    return row


def command(*arguments):
    out = StringIO()
    call_command("events", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_a_topic_is_asked_about_and_the_page_names_who_would_get_it(page):
    subscribed("l03.agents", "agent.*")
    subscribed("l05.orders", "order.*")

    shown = page.get(reverse("admin:events_subscription_who"), {"topic": "agent.created"}).content.decode()

    assert "1 durable subscription" in shown
    assert "l03.agents" in shown
    assert "l05.orders" not in shown
    assert "Nobody" in page.get(reverse("admin:events_subscription_who"), {"topic": "lonely.topic"}).content.decode()


def test_a_topic_that_is_none_is_refused_with_its_code(page):
    assert "E11101" in page.get(reverse("admin:events_subscription_who"), {"topic": "agent created"}).content.decode()


def test_the_list_and_the_form_lead_to_these_pages(page, late):
    assert "who-would-get" in page.get(reverse("admin:events_subscription_changelist")).content.decode()
    found = page.get(reverse("admin:events_subscription_change", args=[late.pk])).content.decode()
    assert "replay-the-past" in found
    answer = page.get(reverse("admin:events_subscription_replay_past", args=[late.pk]))
    assert answer.url == reverse("admin:events_subscription_replay", args=[late.pk])


def test_a_subscription_gets_the_past_and_it_is_written_down(page, late):
    since = now(hours=-1).strftime("%Y-%m-%d %H:%M")

    answer = page.post(reverse("admin:events_subscription_replay", args=[late.pk]), {"since": since}, follow=True)

    assert "replayed 2 events" in answer.content.decode()
    assert Delivery.objects.filter(subscription=late).count() == 2
    assert "replayed 2 events" in LogEntry.objects.get().get_change_message()


def test_a_time_that_is_none_replays_nothing(page, late):
    answer = page.post(reverse("admin:events_subscription_replay", args=[late.pk]), {"since": "yesterday"})

    assert answer.status_code == 200
    assert not Delivery.objects.exists()


def test_who_may_only_look_may_not_replay(client, late):
    eve = User.objects.create_user("eve", is_staff=True)
    eve.user_permissions.add(Permission.objects.get(codename="view_subscription"))
    client.force_login(eve)

    assert client.post(reverse("admin:events_subscription_replay", args=[late.pk]), {"since": "2026-01-01"}).status_code == 403
    assert client.get(reverse("admin:events_subscription_who"), {"topic": "agent.created"}).status_code == 200
    assert not Delivery.objects.exists()


def test_the_command_replays_and_again_only_when_told_to(late):
    since = now(hours=-1).isoformat()

    assert command("replay", "late", "--since", since)["deliveries"] == 2
    assert command("replay", "late", "--since", since)["deliveries"] == 0
    Delivery.objects.update(status="delivered", finished_at=now(hours=-1))
    assert command("replay", "late", "--since", since, "--again")["deliveries"] == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["replay", "nobody", "--since", "2026-01-01T00:00:00Z"], "E11120"),
        (["replay", "late", "--since", "2026-01-01T00:00:00"], "E11909"),
        (["replay", "late", "--since", "yesterday"], "ISO 8601"),
        (["who", "no topic"], "E11101"),
        (["pause", "nobody"], "E11120"),
    ],
)
def test_a_wrong_order_is_refused(late, arguments, says):
    with pytest.raises(CommandError, match=says):
        command(*arguments)


def test_the_command_lists_asks_and_pauses(late):
    assert command("who", "agent.created")["durable"] == ["late"]
    assert "order.paid" in [one["topic"] for one in command("orphans")]
    assert command("pause", "late")["state"] == "paused"
    assert [(one["name"], one["state"]) for one in command("list")] == [("late", "paused")]
    assert command("resume", "late")["state"] == "active"
