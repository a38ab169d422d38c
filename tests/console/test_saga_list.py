"""The list of sagas: presets, exact search, and a cost that does not grow with the table."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from sagas.models import SagaExecution
from tests.console.pages import failed_saga, parked_saga, person, saga

pytestmark = pytest.mark.django_db
LIST = "admin:sagas_sagaexecution_changelist"


@pytest.fixture
def viewer():
    return person("hub viewer")


def shown(browser, **query):
    answer = browser.get(reverse(LIST), query)
    assert answer.status_code == 200
    return {row.pk for row in answer.context["cl"].result_list}


def copies(run, count, **columns):
    fields = {f.attname: getattr(run, f.attname) for f in SagaExecution._meta.fields if f.name not in ("id", "idempotency_key")}
    SagaExecution.objects.bulk_create(SagaExecution(**{**fields, **columns}) for _ in range(count))


def test_each_preset_shows_what_it_says(viewer):
    parked, failed, going = parked_saga(), failed_saga(), saga()
    waiting, stuck, yesterday = saga(), saga(), failed_saga()
    a_while_ago = timezone.now() - timedelta(hours=30)
    SagaExecution.objects.filter(pk=waiting.pk).update(status="waiting")
    SagaExecution.objects.filter(pk=stuck.pk).update(status="waiting", next_wake_at=a_while_ago)
    SagaExecution.objects.filter(pk=yesterday.pk).update(finished_at=a_while_ago)

    assert shown(viewer, show="needs-operator") == {parked.pk}
    assert shown(viewer, show="failed-today") == {parked.pk, failed.pk}
    assert shown(viewer, show="running") == {going.pk}
    assert shown(viewer, show="waiting") == {waiting.pk, stuck.pk}
    assert shown(viewer, show="stuck") == {stuck.pk}


def test_moments_are_told_as_on_all_pages(viewer):
    run = failed_saga()

    assert f"{run.created_at:%Y-%m-%d %H:%M:%S}" in viewer.get(reverse("admin:sagas_sagaexecution_changelist")).content.decode()


def test_a_saga_is_found_by_what_its_caller_knows(viewer):
    run, _ = saga(), saga()
    SagaExecution.objects.filter(pk=run.pk).update(correlation_id="order-77", trace_id="a" * 32, idempotency_key="key-77")

    for text in (str(run.pk), str(run.pk)[:8], "order-77", "a" * 32, "key-77"):
        assert shown(viewer, q=text) == {run.pk}
    assert shown(viewer, q="order-7") == set()


@pytest.mark.parametrize(
    "query", [{}, {"q": "order-77"}, {"show": "stuck"}, {"show": "failed-today"}, {"show": "running"}, {"saga": "no_undo"}]
)
def test_the_list_costs_the_same_for_one_row_as_for_fifty(viewer, query):
    run = failed_saga()
    SagaExecution.objects.filter(pk=run.pk).update(correlation_id="order-77")
    counts = []
    for more in (0, 0, 49):
        copies(run, more, correlation_id="order-77")
        with CaptureQueriesContext(connection) as seen:
            shown(viewer, **query)
        counts.append(len(seen))

    assert counts[1] == counts[2] <= 25
    assert not [query["sql"] for query in seen if "COUNT(*)" in query["sql"] and "LIMIT" not in query["sql"]]


def test_no_search_or_preset_walks_the_whole_table(viewer):
    if connection.vendor != "sqlite":
        pytest.skip("the plan of a small table says nothing on Postgres")
    failed_saga()
    for query in (
        {"q": "order-77"},
        {"q": "01ab"},
        {"show": "needs-operator"},
        {"show": "failed-today"},
        {"show": "running"},
        {"saga": "no_undo"},
    ):
        with CaptureQueriesContext(connection) as seen:
            shown(viewer, **query)
        for one in seen:
            if 'FROM "sagas_sagaexecution"' in one["sql"]:
                with connection.cursor() as cursor:
                    cursor.execute(f"EXPLAIN QUERY PLAN {one['sql']}")
                    plan = [row[3] for row in cursor.fetchall()]
                assert not [line for line in plan if line.startswith("SCAN sagas_sagaexecution")], (query, plan)


def test_a_thousand_rows_are_counted_and_no_more(viewer):
    copies(failed_saga(), 1_020)

    answer = viewer.get(reverse(LIST))

    assert answer.context["cl"].result_count == 1_000


def test_a_list_is_as_long_as_it_was_asked_to_be(capsys):
    run = failed_saga()
    copies(run, 150)

    call_command("saga", "list", "--json", "--limit", "1000")

    assert len(json.loads(capsys.readouterr().out)) == 151
