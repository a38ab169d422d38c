"""From `publish` to a service's endpoint and back: a real relay, a real worker and a real HTTP server."""

from __future__ import annotations

import itertools
import json
import threading

import pytest
from django.urls import reverse

from hub.circuits import services as circuits
from hub.circuits.policy import CircuitState
from hub.events import bus, deadletters, relay, replays, subscriptions
from hub.events.models import DeadLetter, Delivery, Subscription
from hub.events.subscriptions import Policy
from hub.events.targets import HttpTarget
from registry_app import services
from registry_app.values import ServiceInfo
from tests.events.helpers import event, now
from tests.processes import wait_until
from tests.routing.targets import Target

pytestmark = pytest.mark.django_db(transaction=True)

WAIT_SEC = 40
_names = itertools.count(1)


@pytest.fixture(autouse=True)
def _empty_redis():
    """These tests share the run's worker, which needs what lies in Redis."""


@pytest.fixture
def relaying(worker):
    stop = threading.Event()
    running = threading.Thread(target=relay.run, args=(stop,))
    running.start()
    yield
    stop.set()
    running.join(20)


@pytest.fixture
def target():
    found = Target()
    yield found
    found.stop()


@pytest.fixture
def service(target):
    """The name of a layer whose endpoint is `target`; each test has its own, and so its own breaker."""
    name = f"L02_events{next(_names)}"
    services.register(ServiceInfo.create(name, "1.0", target.url))
    return name


def subscribed(service, path, pattern="agent.*", **policy):
    policy = Policy(**{"retry_delay_sec": 0.2, "timeout_sec": 20, **policy})
    return subscriptions.subscribe(f"to-{service}", pattern, HttpTarget(service_name=service, path=path), policy=policy)


def published(count=1, topic="agent.created"):
    return [bus.publish(event(topic, payload={"n": number})) for number in range(count)]


def wait_for(count, **state):
    wait_until(lambda: Delivery.objects.filter(**state).count() == count, timeout_sec=WAIT_SEC, what=f"{count} deliveries {state}")


def test_each_event_reaches_the_endpoint_once_as_a_cloud_event(relaying, target, service):
    subscribed(service, "/events/agent")

    ids = published(5)
    wait_for(5, status="delivered")

    bodies = [json.loads(body) for _, _, _, body in target.requests]
    assert sorted(body["id"] for body in bodies) == sorted(ids)
    method, path, headers, _ = target.requests[0]
    assert (method, path, headers["content-type"]) == ("POST", "/events/agent", "application/cloudevents+json")
    assert headers["traceparent"].split("-")[1] == bodies[0]["traceid"]
    assert len({headers["idempotency-key"] for _, _, headers, _ in target.requests}) == 5
    wanted = {"specversion": "1.0", "source": "unknown", "type": "created", "topic": "agent.created"}
    assert wanted.items() <= bodies[0].items()
    assert {body["data"]["n"] for body in bodies} == set(range(5))


def test_a_route_made_in_the_admin_carries_a_topic_pattern_to_the_layers_endpoint(relaying, target, service, admin_client):
    form = {**{name: getattr(Policy(), name) for name in Policy.__slots__}, "name": "agents", "pattern": "agent.*", "method": "POST"}
    answer = admin_client.post(reverse("admin:events_topicroute_add"), {**form, "service_name": service, "path": "/events/agent"})
    assert answer.status_code == 302, answer.context["errors"]

    [event_id] = published(topic="agent.created")
    published(topic="agent.created.twice")
    wait_for(1, status="delivered")

    assert [(method, path, json.loads(body)["id"]) for method, path, _, body in target.requests] == [("POST", "/events/agent", event_id)]


def test_what_the_service_breaks_at_comes_again_later_under_the_same_key(relaying, target, service):
    subscribed(service, "/status/500", max_attempts=3, retry_delay_sec=0.4)

    published()
    wait_for(1, status="dead")

    [row] = Delivery.objects.all()
    assert [one["number"] for one in row.history] == [1, 2, 3]
    assert {one["code"] for one in row.history} == {"E11344"}
    assert len({headers["idempotency-key"] for _, _, headers, _ in target.requests}) == 1
    assert target.hits_at[-1] - target.hits_at[0] >= 0.2 + 0.4  # the lower ends of 0.4 s and twice as much
    assert DeadLetter.objects.get().error_code == "E11344"


def test_a_refusal_is_a_dead_letter_at_once(relaying, target, service):
    subscribed(service, "/status/422", max_attempts=5)

    published()
    wait_for(1, status="dead")

    assert len(target.requests) == 1
    letter = DeadLetter.objects.get()
    assert (letter.error_code, letter.delivery.attempts) == ("E11345", 1)


def test_an_open_breaker_holds_deliveries_and_lets_them_go_when_it_closes(relaying, target, service):
    subscription = subscribed(service, "/events/agent", max_attempts=1)
    circuits.force(service, CircuitState.FORCED_OPEN, by="ann", why="maintenance")

    ids = published(3)
    held = Subscription.objects.filter(pk=subscription.pk, held_reason__contains="E11223")
    wait_until(held.exists, timeout_sec=WAIT_SEC, what="the subscription is held")
    assert target.requests == []
    circuits.reset(service, by="ann")
    wait_for(3, status="delivered")

    assert sorted(json.loads(body)["id"] for _, _, _, body in target.requests) == sorted(ids)
    assert not DeadLetter.objects.exists()


def test_a_corrected_event_is_another_request(relaying, target, service):
    subscribed(service, "/status/422")
    published()
    wait_for(1, status="dead")

    deadletters.edit_and_replay(DeadLetter.objects.get().pk, {"n": "mended"}, by="ann")
    wait_for(1, status="dead", dead_letter__deaths=2)

    assert [json.loads(body)["data"] for _, _, _, body in target.requests] == [{"n": 0}, {"n": "mended"}]


def test_what_is_asked_for_again_reaches_the_endpoint_again(relaying, target, service):
    subscription = subscribed(service, "/events/agent", pattern="repeated.*")
    [event_id] = published(topic="repeated.once")
    wait_for(1, status="delivered")

    assert replays.from_time(subscription.name, now(minutes=-1), again=True) == 1
    wait_for(1, status="delivered")

    assert [json.loads(body)["id"] for _, _, _, body in target.requests] == [event_id, event_id]
    assert len({headers["idempotency-key"] for _, _, headers, _ in target.requests}) == 2


def test_f12_a_failing_subscriber_is_retried_alone_and_its_event_is_in_the_inspector_once(relaying, target, service):
    policy, broken = Policy(max_attempts=3, retry_delay_sec=0.2, timeout_sec=20), f"{service}broken"
    services.register(ServiceInfo.create(broken, "1.0", target.url))
    subscriptions.subscribe("bad", "agent.*", HttpTarget(service_name=broken, path="/status/500"), policy=policy)
    subscriptions.subscribe("good", "agent.*", HttpTarget(service_name=service, path="/good"), policy=policy)

    [event_id] = published()
    wait_for(1, subscription__name="bad", status="dead")
    wait_for(1, subscription__name="good", status="delivered")

    assert sum(path == "/good" for _, path, _, _ in target.requests) == 1
    letter = DeadLetter.objects.get()
    assert (letter.event.event_id, letter.delivery.attempts, letter.deaths) == (event_id, 3, 1)
    assert abs((now() - letter.created_at).total_seconds()) < 600  # the time of the day, not of an event loop

    subscriptions.subscribe("bad", "agent.*", HttpTarget(service_name=broken, path="/mended"))
    circuits.reset(broken, by="ann")
    deadletters.replay(letter.pk, by="ann")
    wait_for(2, status="delivered")

    assert deadletters.find(letter.pk).status == "resolved"
    assert sum(path == "/good" for _, path, _, _ in target.requests) == 1
