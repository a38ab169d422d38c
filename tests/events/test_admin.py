import pytest
from django.contrib.auth.models import Permission, User

from hub.events import subscriptions
from hub.events.models import DeadLetter, ReplayRun, Subscription
from tests.events.helpers import fail_until_dead, publish, relay_round, send_again, subscribed, under_way

pytestmark = pytest.mark.django_db(transaction=True)

ROUTE = {
    "name": "agents to L02", "pattern": "agent.*", "service_name": "L02_runtime", "method": "POST", "path": "/events/agent",
    "max_attempts": 5, "retry_delay_sec": 1, "retry_backoff": 2, "retry_max_delay_sec": 300, "timeout_sec": 60, "max_in_flight": 100,
    "max_age_sec": 600, "ordering": "", "ordering_key": "",
}  # fmt: skip


@pytest.fixture
def page(client):
    client.force_login(User.objects.create_superuser("ann"))
    return client


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


@pytest.mark.parametrize(
    ("change", "code"), [({"pattern": "agent.(.+)+$"}, "E11105"), ({"path": "//evil"}, "E11106"), ({"pattern": "**"}, "E11164")]
)
def test_a_wrong_route_is_refused_with_its_code(page, change, code):
    answer = page.post("/admin/events/topicroute/add/", ROUTE | change)

    assert code in answer.content.decode()
    assert not Subscription.objects.exists()


def test_a_route_is_paused_in_its_form(page):
    page.post("/admin/events/topicroute/add/", ROUTE)
    row = Subscription.objects.get()

    answer = page.post(f"/admin/events/topicroute/{row.pk}/change/", {**ROUTE, "paused": "on"})

    assert answer.status_code == 302
    row.refresh_from_db()
    assert row.paused


def act(page, action, letter, **values):
    return page.post("/admin/events/deadletter/", {"action": action, "_selected_action": [letter.pk], **values}, follow=True)


def test_letters_are_replayed_and_discarded_from_the_list(page, letter):
    act(page, "replay", letter)
    letter.refresh_from_db()
    assert (letter.status, letter.decided_by) == ("replayed", "ann")

    other = DeadLetter.objects.exclude(pk=letter.pk).get()
    assert "E11901" in act(page, "discard", other).content.decode()
    act(page, "discard", other, reason="test")
    other.refresh_from_db()
    assert (other.status, other.reason) == ("discarded", "test")


def test_a_cause_is_replayed_from_the_list(page, letter):
    act(page, "replay_cause", letter)

    assert (ReplayRun.objects.get().limit, ReplayRun.objects.get().requested_by) == (2, "ann")


def test_a_corrected_payload_is_replayed_from_the_page(page, letter):
    shown = page.get(f"/admin/events/deadletter/{letter.pk}/change/").content.decode()
    assert "KeyError" in shown

    page.post(f"/admin/events/deadletter/{letter.pk}/change/", {"payload": '{"name": "mended"}'})
    send_again(seconds=1)

    assert under_way()[0].event.body["data"] == {"name": "mended"}


def test_who_may_only_look_decides_nothing(client, letter):
    user = User.objects.create_user("bob", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_deadletter"))
    client.force_login(user)

    assert client.get("/admin/events/deadletter/").status_code == 200
    act(client, "replay", letter)
    client.post(f"/admin/events/deadletter/{letter.pk}/change/", {"payload": "{}"})

    letter.refresh_from_db()
    assert letter.status == "open"
