"""No page makes more queries for more rows, and none more than twenty-five."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from hub.bench import load, pages
from hub.bench.load import Counts
from hub.bench.pages import Line, Taken
from hub.redis_client import client as redis_client
from sagas.models import SagaExecution, SagaStepExecution

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _alone(no_worker_unless_asked):
    redis_client().flushdb()


def test_no_page_makes_more_queries_for_more_rows(admin_user):
    browser = Client()
    browser.force_login(admin_user)
    load.load(Counts(sagas=200, spans=200, dead_letters=20))  # each filter finds something
    pages.draw_up_an_operation()
    few = pages.count_queries(browser)
    load.load(Counts(sagas=200, spans=500, dead_letters=50))

    many = pages.count_queries(browser)

    # What a process remembers for a while (definitions, secrets) is asked for again now and then: such a page is counted once more.
    grown = [name for name, count in many.items() if count > few[name]]
    again = pages.count_queries(browser, only=grown) if grown else {}
    assert {name: (few[name], count) for name, count in again.items() if count > few[name]} == {}
    assert {name: count for name, count in many.items() if count > pages.MAX_QUERIES} == {}


def test_what_a_page_takes_is_its_time_and_its_queries(admin_user):
    browser = Client()
    browser.force_login(admin_user)

    taken = pages.take(browser, "/admin/console/errors/")

    assert taken.ms > 0
    assert 0 < taken.queries <= pages.MAX_QUERIES


def test_loading_refuses_a_database_that_is_in_use_unless_told():
    load.load(Counts(sagas=2, spans=0, dead_letters=0))

    with pytest.raises(CommandError, match="E11921"):
        call_command("bench", "load", "--sagas", "1", "--spans", "0", "--dead-letters", "0")
    call_command("bench", "load", "--more", "--sagas", "1", "--spans", "0", "--dead-letters", "0")

    assert (SagaExecution.objects.count(), SagaStepExecution.objects.count()) == (3, 12)


@pytest.mark.parametrize(
    ("few", "many", "misses"),
    [
        ((100, 10), (140, 10), []),
        ((10, 10), (20, 10), []),  # too little to tell
        ((100, 10), (160, 10), ["ratio over 1.5"]),
        ((250, 10), (301, 10), ["over 300 ms"]),
        ((100, 10), (100, 11), ["queries grow with the rows"]),
        ((100, 26), (100, 26), ["over 25 queries"]),
    ],
)
def test_a_page_that_misses_a_target_is_named(few, many, misses):
    line = Line(name="x", few=Taken(ms=few[0], queries=few[1]), many=Taken(ms=many[0], queries=many[1]))

    assert line.misses(300) == misses
