"""A layer that speaks HTTP subscribes durably, and leaves again."""

import pytest

from hub.events.models import Subscription

pytestmark = pytest.mark.django_db(transaction=True)


def test_over_http_with_a_scope_of_its_own(caller):
    address = "/subscriptions/L02_runtime/orders"
    wish = {"pattern": "order.*", "target": {"service_name": "L02_runtime", "path": "/events"}}

    made = caller.send("PUT", address, wish | {"policy": {"max_attempts": 2}})

    assert made.json() == {"name": "L02_runtime:orders", "pattern": "order.*", "target": "POST /events of L02_runtime", "paused": False}
    assert [item["name"] for item in caller.get("/subscriptions").json()["items"]] == ["L02_runtime:orders"]
    assert caller.send("DELETE", address).json() == {"name": "L02_runtime:orders"}
    assert not Subscription.objects.exists()
