"""The overview: what is wrong first, each a link to where it is put right."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from hub.celery import QUEUES
from hub.circuits import fleet, history
from hub.circuits import services as circuits
from hub.circuits.models import CircuitSetting
from hub.circuits.policy import CircuitState
from hub.console import workers
from hub.console.overview import pulse
from hub.console.queues import board
from hub.embedded import free_port
from hub.events import presence
from hub.redis_client import client as redis_client
from hub.routing.models import RoutedRequest
from hub.telemetry import readers
from registry_app.values import ServiceStatus
from sagas.models import SagaExecution
from tests.console.pages import dead_letters, failed_saga, parked_saga, person
from tests.console.test_saga_list import copies
from tests.events.helpers import relay_round
from tests.processes import ROOT, hub_environment
from tests.registry.samples import register

pytestmark = pytest.mark.django_db
KINDS = {
    "database", "redis", "needs-operator", "orphans", "workers", "beat", "relay", "stuck", "circuits", "services", "dead-letters",
    "failed-today",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet_redis():
    """Begin with an empty Redis in which one worker of the hub gives a sign of life, for as long as the test may take."""
    redis_client().flushdb()
    workers.beat("hub@here", QUEUES)
    redis_client().zadd(workers.KEY, {"hub@here": redis_client().time()[0] + 600})
    redis_client().set(readers.ASKED_KEY, redis_client().time()[0])
    presence.beat()


@pytest.fixture
def viewer():
    return person("hub viewer")


def overview(browser):
    answer = browser.get("/admin/")
    assert answer.status_code == 200
    return answer


def kinds(answer):
    return re.findall(r'data-kind="([a-z-]+)"', answer.content.decode())


def requests(count, *, minutes_ago=1, **fields):
    at = timezone.now() - timedelta(minutes=minutes_ago)
    given = {
        "service_name": "L02_runtime",
        "method": "GET",
        "path": "/",
        "outcome": "ok",
        "duration_ms": 20,
        "trace_id": "a" * 32,
        **fields,
    }
    RoutedRequest.objects.bulk_create(RoutedRequest(created_at=at, correlation_id="c", **given) for _ in range(count))


def test_when_nothing_is_wrong_it_says_so(viewer):
    answer = overview(viewer)

    assert "Nothing is wrong" in answer.content.decode()
    assert kinds(answer) == []


def test_a_rollback_that_is_stuck_names_what_stands_in_its_way(viewer):
    run = parked_saga()

    html = overview(viewer).content.decode()

    trouble = html[html.index('data-kind="needs-operator"') : html.index('data-kind="failed-today"')]
    assert str(run) in trouble
    assert "the account is closed" in trouble


def test_each_trouble_is_there_the_worst_first(viewer):
    parked_saga()
    stuck = failed_saga()
    SagaExecution.objects.filter(pk=stuck.pk).update(status="waiting", finished_at=None, next_wake_at=timezone.now() - timedelta(hours=1))
    register("L05_planning", status=ServiceStatus.UNHEALTHY)
    circuits.force("L05_planning", CircuitState.FORCED_OPEN, by="ann", why="it burns")
    dead_letters(2)
    redis_client().rpush("hub", "{}")

    answer = overview(viewer)

    assert kinds(answer) == ["needs-operator", "orphans", "stuck", "circuits", "services", "dead-letters", "failed-today"]
    assert answer.content.decode().index("What is wrong") < answer.content.decode().index("Sagas running")


def test_an_open_breaker_says_since_when_until_when_and_by_whom(viewer):
    register("L05_planning")
    circuits.force("L05_planning", CircuitState.FORCED_OPEN, by="ann", why="it burns", for_sec=600)
    history.record_transitions()

    (trouble,) = overview(viewer).context["troubles"]

    (item,) = trouble.items
    until = CircuitSetting.objects.get().mode_until
    assert item.name.startswith(f"L05_planning is forced open until {until:%Y-%m-%d %H:%M}:")
    assert item.text == "ann: it burns"
    assert timezone.now() - item.since < timedelta(minutes=1)


def test_a_redis_that_is_away_is_a_trouble_since_it_was_lost(viewer, settings):
    fleet.forget()
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    workers.connection.cache_clear()

    (trouble,) = overview(viewer).context["troubles"]

    assert trouble.kind == "redis"
    assert timezone.now() - trouble.items[0].since < timedelta(minutes=1)
    board = viewer.get(reverse("console:circuits")).content.decode()
    assert "Redis does not answer this process since" in board
    assert "No breaker has seen a call yet" not in board
    fleet.forget()
    workers.connection.cache_clear()


def test_a_parked_saga_failed_today_and_did_not_turn_back(viewer):
    run = parked_saga()

    (failed,) = [trouble for trouble in overview(viewer).context["troubles"] if trouble.kind == "failed-today"]

    assert failed.title == "Sagas that failed today"
    assert [item.name for item in failed.items] == [str(run)]


def test_a_saga_that_put_itself_right_is_told_without_alarm(viewer):
    SagaExecution.objects.filter(pk=failed_saga().pk).update(status="compensated")

    answer = overview(viewer)

    assert kinds(answer) == ["failed-today"]
    assert "Nothing needs you now" in answer.content.decode()


def test_every_link_of_a_trouble_leads_somewhere(viewer):
    parked_saga()
    register("L05_planning", status=ServiceStatus.UNHEALTHY)
    circuits.force("L05_planning", CircuitState.FORCED_OPEN, by="ann", why="it burns")
    dead_letters(1)

    troubles = overview(viewer).context["troubles"]

    links = {one.url for one in troubles} | {item.url for one in troubles for item in one.items}
    assert {link: viewer.get(link).status_code for link in links} == dict.fromkeys(links, 200)
    assert len(links) >= 8


def test_no_sign_of_life_from_a_worker_is_a_trouble(viewer):
    workers.forget("hub@here")

    answer = overview(viewer)

    assert kinds(answer) == ["workers"]
    assert [item.name for item in answer.context["troubles"][0].items] == list(QUEUES)


def test_a_queue_of_the_hub_that_no_live_worker_reads_is_a_trouble_since_it_was_last_read(viewer):
    workers.beat("hub@here", ["hub", "hub.sagas", "hub.events"])
    workers.beat("l03@layer", ["l03"])
    redis_client().zadd(workers.KEY, {"hub@here": redis_client().time()[0] + 600})
    redis_client().hset(readers.LAST_READ_KEY, "hub.control", 1_790_000_000)

    (trouble,) = overview(viewer).context["troubles"]

    assert (trouble.kind, [item.name for item in trouble.items]) == ("workers", ["hub.control"])
    assert trouble.items[0].since.timestamp() == 1_790_000_000


def test_workers_that_nobody_asks_are_a_trouble(viewer):
    redis_client().delete(readers.ASKED_KEY)
    redis_client().hset(readers.LAST_READ_KEY, "hub.control", 1_790_000_000)

    answer = overview(viewer)

    assert kinds(answer) == ["beat"]
    assert answer.context["troubles"][0].items[0].since.timestamp() == 1_790_000_000


def test_a_relay_that_is_away_is_a_trouble_since_it_was_last_seen(viewer):
    redis_client().set(presence.KEY, redis_client().time()[0] - 600)

    answer = overview(viewer)

    assert kinds(answer) == ["relay"]
    ago = timezone.now() - answer.context["troubles"][0].items[0].since
    assert 595 < ago.total_seconds() < 700
    assert "Is `manage.py relay` running?" in answer.content.decode()


def test_the_relay_itself_says_that_it_is_there(viewer):
    redis_client().delete(presence.KEY)
    assert kinds(overview(viewer)) == ["relay"]

    relay_round()

    assert kinds(overview(viewer)) == []


def test_an_alarm_hears_what_the_overview_shows(viewer, client):
    parked_saga()
    redis_client().delete(presence.KEY)
    shown = {trouble.kind: trouble.count for trouble in overview(viewer).context["troubles"]}

    told = {
        sample.labels["kind"]: sample.value
        for family in text_string_to_metric_families(client.get("/metrics").content.decode())
        for sample in family.samples
        if sample.name == "hub_troubles"
    }

    assert {kind: count for kind, count in told.items() if count} == shown
    assert set(told) == KINDS, "those that there are none of are told too: an alarm has to end"


def test_an_alarm_hears_of_a_database_that_is_away():
    env = hub_environment({"DATABASE_URL": f"postgres://hub:secret@127.0.0.1:{free_port()}/hub"})
    asks = "from django.test import Client; print(Client().get('/metrics', headers={'host': 'localhost'}).content.decode())"
    done = subprocess.run([sys.executable, "manage.py", "shell", "-c", asks], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)

    assert 'hub_troubles{kind="database"} 1.0' in done.stdout, done.stderr


def test_an_alarm_hears_of_a_database_that_says_nothing_before_prometheus_loses_patience():
    asks = (
        "import time; from django.test import Client; began = time.monotonic()\n"
        "print(Client().get('/metrics', headers={'host': 'localhost'}).content.decode(), f'took {time.monotonic() - began:.0f}')"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel takes the connection, and nobody answers
        env = hub_environment({"DATABASE_URL": f"postgres://hub:secret@127.0.0.1:{silent.getsockname()[1]}/hub"})
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "-c", asks], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
        )

    assert 'hub_troubles{kind="database"} 1.0' in done.stdout, done.stderr
    assert int(done.stdout.split("took ")[1]) < 8


def test_a_person_sees_only_what_they_may(client, django_user_model):
    parked_saga()
    client.force_login(django_user_model.objects.create_user("guest", is_staff=True))

    answer = overview(client)

    assert kinds(answer) == []
    assert "Sagas running" not in answer.content.decode()


def test_the_overview_costs_the_same_for_one_row_as_for_fifty(viewer):
    parked, counts = parked_saga(), []
    failed_saga()
    for more in (0, 0, 49):
        copies(parked, more)
        requests(more)
        for number in range(more):
            register(f"L{number:02}_sick", f"http://127.0.0.1:{9000 + number}", status=ServiceStatus.UNHEALTHY)
        dead_letters(1 + more)
        with CaptureQueriesContext(connection) as seen:
            overview(viewer)
        counts.append(len(seen))

    assert counts[1] == counts[2] <= 25
    assert not [one["sql"] for one in seen if "COUNT(*)" in one["sql"] and "LIMIT" not in one["sql"]]


def test_requests_of_the_last_half_hour_are_counted(viewer):
    requests(3)
    requests(1, outcome="unknown", duration_ms=900)
    requests(5, minutes_ago=60)

    found = overview(viewer).context["traffic"]

    assert (found.calls, found.failed, found.p50_ms, found.p95_ms) == (4, 1, 20, 900)


def test_the_pulse_puts_each_call_into_its_minute():
    calls = [pulse.Call(ago_sec=ago, is_ok=ok, duration_ms=10) for ago, ok in ((1, True), (2, False), (1790, True), (1801, True))]

    found = pulse.of(calls, is_cut=False)

    assert (found.calls, found.failed) == (3, 1)
    drawn = [(place, minute.good > 0, minute.bad > 0) for place, minute in enumerate(found.minutes) if minute.good or minute.bad]
    assert drawn == [(0, True, False), (29, True, True)]


def test_a_queue_that_a_worker_reads_is_no_orphan(worker, viewer):
    redis_client().rpush("l99.lost", "{}")
    redis_client().sadd("_kombu.binding.l99.lost", "l99.lost\x06\x16\x06\x16l99.lost")

    readers.ask()
    seen = {line.name: line for line in board.look().queues}

    assert (seen["hub"].readers, seen["hub"].is_orphan) == ([worker.node], False)
    assert (seen["l99.lost"].ready, seen["l99.lost"].readers, seen["l99.lost"].is_orphan) == (1, [], True)
    html = viewer.get(reverse("console:queues")).content.decode()
    assert html.index("l99.lost") < html.index("hub.control")
    assert html.count("nobody reads it") == 1


def test_as_long_as_nobody_asked_no_queue_is_called_an_orphan():
    redis_client().delete(readers.ASKED_KEY)
    redis_client().rpush("hub", "{}")

    assert [line.name for line in board.look().queues if line.is_orphan] == []


def test_the_queues_are_not_for_everybody(client, django_user_model):
    client.force_login(django_user_model.objects.create_user("guest", is_staff=True))

    assert client.get(reverse("console:queues")).status_code == 403
