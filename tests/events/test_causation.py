"""From an event to what it led to, at a bounded cost."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from hub.events import causation
from hub.events.models import Event
from hub.routing.models import RoutedRequest
from sagas.models import SagaExecution, SagaVersion

pytestmark = pytest.mark.django_db

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def stored(event_id, cause="", **values):
    values = {"topic": f"topic.{event_id}", "event_type": "created", "source": "L02", "body": {}, "time": timezone.now(), **values}
    return Event.objects.create(event_id=event_id, causation_id=cause, **values)


def shape(node):
    return {node.event.event_id: [shape(one) for one in node.caused]} if node.caused else node.event.event_id


@pytest.fixture
def chain():
    stored("a")
    stored("b", "a", trace_id=TRACE)
    stored("c", "a")
    stored("unrelated")
    return stored("d", "b")


def test_the_graph_goes_up_to_the_first_cause_and_down_to_everything_it_led_to(chain):
    found = causation.graph(chain)

    assert shape(found.root) == {"a": [{"b": ["d"]}, "c"]}
    assert (found.count, found.is_cut, found.unknown_cause) == (4, False, "")


def test_a_cause_that_is_not_stored_is_named():
    found = causation.graph(stored("b", "nobody-wanted-it"))

    assert (shape(found.root), found.unknown_cause) == ("b", "nobody-wanted-it")


def test_ids_that_go_round_in_a_circle_end():
    stored("a", "b")

    assert causation.graph(stored("b", "a")).count == 2


def test_a_large_graph_is_cut_and_costs_a_bounded_number_of_queries():
    root = stored("root")
    rows = [stored(f"n{number}", "root") for number in range(3)]
    Event.objects.bulk_create(
        Event(event_id=f"m{number}", causation_id=rows[number % 3].event_id, topic="t", event_type="e", source="s", body={}, time=root.time)
        for number in range(500)
    )

    with CaptureQueriesContext(connection) as queries:
        found = causation.graph(root)

    assert (found.count, found.is_cut) == (causation.MAX_EVENTS, True)
    assert len(queries) <= causation.MAX_HOPS + 5


def test_the_queries_use_the_indexes(chain):
    with CaptureQueriesContext(connection) as queries:
        causation.graph(chain)

    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            for query in queries:
                cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
                plan = " ".join(str(row[3]) for row in cursor.fetchall())
                assert "SCAN events_event" not in plan, plan


def test_the_page_shows_the_chain_and_the_requests_and_sagas_of_its_traces(page, chain):
    RoutedRequest.objects.create(
        service_name="L02_runtime", method="POST", path="/deploy", outcome="ok", duration_ms=1, trace_id=TRACE, correlation_id="c"
    )
    now = timezone.now()
    version = SagaVersion.objects.create(saga_name="deploy_application", version="1", hash="h", snapshot={})
    values = {"saga_name": version.saga_name, "status": "completed", "deadline_at": now, "created_at": now}
    saga = SagaExecution.objects.create(definition=version, trace_id=TRACE, **values)

    event_page = page.get(reverse("admin:events_event_change", args=[chain.pk])).content.decode()
    link = reverse("admin:events_event_causation", args=[chain.pk])
    shown = page.get(link).content.decode()

    assert link in event_page
    for text in ("topic.a", "<b>topic.d</b>", "POST L02_runtime/deploy", "deploy_application", str(saga.pk), "4 events"):
        assert text in shown
    assert "topic.unrelated" not in shown


def test_the_page_says_that_it_is_cut(page, monkeypatch, chain):
    monkeypatch.setattr(causation, "MAX_EVENTS", 2)

    assert "More events follow" in page.get(reverse("admin:events_event_causation", args=[chain.pk])).content.decode()


def test_the_page_is_for_those_who_may_see_events(client, chain):
    client.force_login(User.objects.create_user("eve", is_staff=True))

    assert client.get(reverse("admin:events_event_causation", args=[chain.pk])).status_code == 403
