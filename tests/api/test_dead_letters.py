"""Dead letters over HTTP: looked at, and decided about under the token's name."""

import pytest

from hub.events.models import DeadLetter
from tests.events.helpers import fail_until_dead, publish, relay_round, subscribed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def letters(no_worker):
    """Three dead letters of one cause, oldest first."""
    subscribed(max_attempts=1)
    publish("agent.a", "agent.b", "agent.c")
    relay_round()
    fail_until_dead("KeyError: 'name'")
    return [letter.pk for letter in DeadLetter.objects.order_by("last_at", "id")]


def test_letters_are_shown_and_decided_about_one_by_one(letters, caller):
    listed = caller.get("/dead-letters?limit=2").json()
    assert [item["id"] for item in listed["items"]] == letters[:0:-1]
    assert [item["id"] for item in caller.get(f"/dead-letters?cursor={listed['next']}").json()["items"]] == letters[:1]
    [subscription] = caller.get("/subscriptions").json()["items"]
    assert (subscription["name"], subscription["target"]) == ("l03", "l03.on_event @ l03")
    first, second, third = letters
    shown = caller.get(f"/dead-letters/{first}").json()
    assert shown["event"]["data"] == {"agent_id": "agent-123"}
    assert len(shown["attempts"]) == 1

    decided = [
        caller.post(f"/dead-letters/{first}/replay"),
        caller.post(f"/dead-letters/{second}/edit", {"payload": {"agent_id": "agent-7"}}),
        caller.post(f"/dead-letters/{third}/discard", {"reason": "a test"}),
    ]

    assert [(one.json()["status"], one.json()["decided_by"]) for one in decided] == [
        ("replayed", "ci"),
        ("replayed", "ci"),
        ("discarded", "ci"),
    ]
    assert caller.post(f"/dead-letters/{third}/replay").json()["code"] == "E11124"
    assert [item["id"] for item in caller.get("/dead-letters?status=discarded").json()["items"]] == [third]


def test_the_letters_of_one_subscription_are_found(letters, caller):
    subscribed("l04", "order.*", max_attempts=1)
    publish("order.d")
    relay_round()
    fail_until_dead("KeyError: 'name'")

    assert [item["topic"] for item in caller.get("/dead-letters?subscription=l04").json()["items"]] == ["order.d"]
    assert [item["id"] for item in caller.get("/dead-letters?subscription=l03").json()["items"]] == letters[::-1]
    assert caller.get("/dead-letters?subscription=l03&status=resolved").json()["items"] == []
    assert caller.get("/dead-letters?subscription=nobody").json()["code"] == "E11120"


def test_letters_of_one_cause_are_replayed_at_a_rate(letters, caller):
    [group] = caller.get("/dead-letters/groups").json()["items"]
    assert (group["count"], group["subscription"]) == (3, "l03")

    begun = caller.post(f"/dead-letters/groups/{group['fingerprint']}/replay", {"dry_run": True})

    assert (begun.status_code, begun.json()["letters"]) == (202, 1)
    assert caller.post(f"/dead-letters/groups/{group['fingerprint']}/replay").json()["code"] == "E11921"
    assert caller.post("/dead-letters/groups/nobody/replay").json()["code"] == "E11123"
