"""A layer that speaks HTTP subscribes durably, and leaves again."""

import pytest
from django.utils import timezone

from hub.events.models import Delivery, Event, Subscription

pytestmark = pytest.mark.django_db(transaction=True)


def test_over_http_with_a_scope_of_its_own(caller):
    address = "/subscriptions/L02_runtime/orders"
    wish = {"pattern": "order.*", "target": {"service_name": "L02_runtime", "path": "/events"}}

    made = caller.send("PUT", address, wish | {"policy": {"max_attempts": 2}})

    assert made.json() == {"name": "L02_runtime:orders", "pattern": "order.*", "target": "POST /events of L02_runtime", "paused": False}
    assert [item["name"] for item in caller.get("/subscriptions").json()["items"]] == ["L02_runtime:orders"]
    assert caller.send("DELETE", address).json() == {"name": "L02_runtime:orders"}
    assert not Subscription.objects.exists()


def test_a_layer_sees_its_policy_and_what_waits_for_it(caller):
    address = "/subscriptions/L02_runtime/orders"
    wish = {"pattern": "order.*", "target": {"service_name": "L02_runtime", "path": "/events"}}
    caller.send("PUT", address, wish | {"policy": {"max_attempts": 2, "ordering": "key", "ordering_key": "order"}})
    now = timezone.now()
    event = Event.objects.create(event_id="e-1", topic="order.paid", event_type="paid", source="L02", body={}, time=now)
    Delivery.objects.create(subscription=Subscription.objects.get(), event=event, due_at=now)

    caller.send("PUT", address, wish)
    shown = caller.get(address).json()

    assert (shown["name"], shown["pattern"], shown["pending"], shown["sending"]) == ("L02_runtime:orders", "order.*", 1, 0)
    assert (shown["policy"]["max_attempts"], shown["policy"]["ordering_key"]) == (2, "order"), "left out, the policy stays"
    assert shown["policy"]["timeout_sec"] == 60
