"""The pages of the error codes: each code says what it means, what to do, and how often it came up lately."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from hub.console.codes import advice, lately
from hub.error_codes import ErrorCode
from hub.events.models import DeadLetter
from hub.routing.models import RoutedRequest
from hub.telemetry import store
from hub.telemetry.values import TraceSpan
from tests.console.pages import dead_letters, failed_saga, person
from tests.console.test_saga_list import copies


@pytest.mark.parametrize("code", list(ErrorCode), ids=str)
def test_every_code_has_an_area_a_kind_and_something_to_do(code):
    found = advice.on(code)

    assert found.area != "Integration hub"
    assert found.kind
    assert found.todo


def test_a_word_finds_its_codes():
    assert {one.code for one in advice.everything("dead-letter")} == {"E11143"}
    assert advice.everything("no such word") == []


@pytest.mark.django_db
def test_the_page_explains_and_counts():
    viewer, run = person("hub viewer"), failed_saga()
    copies(run, 2)

    html = viewer.get(reverse("console:error-code", args=["E11440"])).content.decode()

    assert ErrorCode("E11440").text in html.replace("&#x27;", "'")
    assert "Sagas that turned back" in html
    assert re.findall(r"<td>(\d+)</td>", html)[:3] == ["3", "3", "3"]


def counted(code, what):
    lines = lately.count(code, now=timezone.now(), may=lambda permission: True)
    line = next(line for line in lines if line.what.startswith(what))
    return [(one.count, one.is_at_least) for one in line.counts]


AGES = (timedelta(minutes=5), timedelta(hours=5), timedelta(days=5), timedelta(days=9))


def a_dead_letter(at):
    [letter] = dead_letters(1)
    DeadLetter.objects.filter(pk=letter.pk).update(last_at=at, error_code="E11440", status="resolved")


def a_request(at):
    told = {"trace_id": "a" * 32, "correlation_id": "c", "duration_ms": 1, "created_at": at}
    RoutedRequest.objects.create(service_name="L03", method="GET", path="/", outcome="unknown", code="E11440", **told)


def a_span(at):
    store.write([TraceSpan(span_name="step a", start=at, end=at, status="error", attributes={"error.type": "E11440"})])


@pytest.mark.django_db
@pytest.mark.parametrize(("what", "make"), [("dead letters", a_dead_letter), ("requests", a_request), ("failed spans", a_span)])
def test_each_window_counts_what_lies_in_it(what, make):
    for age in AGES:
        make(timezone.now() - age)

    assert counted("E11440", what) == [(1, False), (2, False), (3, False)]
    assert counted("E11441", what) == [(0, False)] * 3


@pytest.mark.django_db
def test_sagas_are_counted_by_when_they_were_accepted():
    run = failed_saga()
    for age in AGES:
        copies(run, 1, created_at=timezone.now() - age)
    copies(run, 1, status="completed")

    assert counted("E11440", "sagas") == [(2, False), (3, False), (4, False)]


@pytest.mark.django_db
def test_a_window_that_was_not_read_to_its_end_says_so(monkeypatch):
    monkeypatch.setattr(lately, "READ", 3)
    for age in reversed(AGES[:2]):  # as they end: the newest last
        a_request(timezone.now() - age)
        a_request(timezone.now() - age)

    assert counted("E11440", "requests") == [(2, False), (3, True), (3, True)]


@pytest.mark.django_db
def test_what_is_kept_for_less_than_the_longest_window_says_so(settings):
    settings.HUB = settings.HUB.model_copy(update={"request_retention_days": 3})

    html = person("hub viewer").get(reverse("console:error-code", args=["E11440"])).content.decode()

    assert html.count("(kept for 3 days)") == 1


@pytest.mark.django_db
@pytest.mark.parametrize("rows", [pytest.param(rows, id=source.what) for source in lately._SOURCES for rows in source.newest()])
def test_what_is_read_lies_at_the_end_of_an_index(rows):
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # would read a table of no rows as a whole, and sort it
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
    plan = rows[: lately.READ].explain()

    assert "index" in plan.lower()
    assert "sort" not in plan.lower().replace("enable_sort", "")
    assert "temp b-tree" not in plan.lower()


@pytest.mark.django_db
def test_the_page_costs_the_same_for_one_row_as_for_fifty():
    viewer, run = person("hub viewer"), failed_saga()
    counts = []
    for more in (0, 0, 49):
        copies(run, more)
        with CaptureQueriesContext(connection) as seen:
            viewer.get(reverse("console:error-code", args=["E11440"]))
        counts.append(len(seen))

    assert counts[1] == counts[2] <= 25


@pytest.mark.django_db
def test_the_list_searches_and_an_unknown_code_is_not_found(client, django_user_model):
    client.force_login(django_user_model.objects.create_user("guest", is_staff=True))

    assert "E11143" in client.get(reverse("console:error-codes"), {"q": "dead-letter"}).content.decode()
    assert client.get(reverse("console:error-code", args=["E11999"])).status_code == 404
