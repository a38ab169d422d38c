import pytest

from hub.events import subscriptions
from hub.events.models import DeadLetter, Subscription
from hub.events.targets import HttpTarget
from tests.events.helpers import fail_until_dead, publish, relay_round, subscribed, under_way

pytestmark = pytest.mark.django_db(transaction=True)

ROUTE = {
    "name": "agents to L02", "pattern": "agent.*", "service_name": "L02_runtime", "method": "POST", "path": "/events/agent",
    "max_attempts": 5, "retry_delay_sec": 1, "retry_backoff": 2, "retry_max_delay_sec": 300, "timeout_sec": 60, "max_in_flight": 100,
    "max_age_sec": 600, "ordering": "", "ordering_key": "",
}  # fmt: skip


@pytest.fixture
def letter():
    subscribed(max_attempts=1)
    publish("agent.a", "agent.b")
    relay_round()
    fail_until_dead("KeyError: '<b>name</b>'")
    return DeadLetter.objects.order_by("id").first()


@pytest.mark.parametrize("model", ["subscription", "topicroute", "event", "delivery", "deadletter", "replayrun", "topic"])
def test_every_list_opens(page, letter, model):
    answer = page.get(f"/admin/events/{model}/")

    assert answer.status_code == 200
    assert "<b>name</b>" not in answer.content.decode()


def test_a_route_is_made_and_events_follow_it(page):
    answer = page.post("/admin/events/topicroute/add/", ROUTE)

    assert answer.status_code == 302, answer.context["errors"]
    route = subscriptions.find("agents to L02")
    assert (route.kind, route.path) == ("http", "/events/agent")
    publish()
    relay_round()
    assert under_way()[0].subscription == route


@pytest.mark.parametrize("form", [{"post": "yes"}, {"action": "delete_selected", "post": "yes"}])
def test_a_subscription_is_removed_with_its_deliveries_and_dead_letters(page, letter, form):
    pk = letter.subscription_id
    address = f"/admin/events/subscription/{'' if 'action' in form else f'{pk}/delete/'}"

    asked = page.post(address, {**form, "_selected_action": pk, "post": ""}) if "action" in form else page.get(address)
    answer = page.post(address, {**form, "_selected_action": pk})

    assert "0 events that wait for delivery" in asked.content.decode()
    assert "2 open dead letters" in asked.content.decode()
    assert answer.status_code == 302
    assert not Subscription.objects.exists()
    assert not DeadLetter.objects.exists()


def test_a_subscription_to_everything_is_changed_but_not_made_here(page):
    row = subscriptions.subscribe("audit", "**", HttpTarget(service_name="L02_runtime", path="/events"), everything=True)

    answer = page.post(f"/admin/events/topicroute/{row.pk}/change/", ROUTE | {"pattern": "**", "max_attempts": 9})

    assert answer.status_code == 302, answer.context["errors"]
    assert subscriptions.find("audit").max_attempts == 9
    page.post(f"/admin/events/topicroute/{row.pk}/change/", ROUTE)
    assert "E11164" in page.post(f"/admin/events/topicroute/{row.pk}/change/", ROUTE | {"pattern": "**"}).content.decode()


@pytest.mark.parametrize(
    ("change", "code"), [({"pattern": "agent.(.+)+$"}, "E11105"), ({"path": "//evil"}, "E11106"), ({"pattern": "**"}, "E11164")]
)
def test_a_wrong_route_is_refused_with_its_code(page, change, code):
    answer = page.post("/admin/events/topicroute/add/", ROUTE | change)

    assert code in answer.content.decode()
    assert not Subscription.objects.exists()
