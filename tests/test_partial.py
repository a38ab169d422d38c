"""Columns of which only the given values are in an index: queries are served by it, on both databases."""

from __future__ import annotations

import pytest
from django.db import connection

from hub.circuits.models import CircuitTransition
from hub.events.models import DeadLetter, Event
from hub.partial import given, known_as
from hub.telemetry.models import Span
from sagas.models import SagaExecution, SagaStepExecution
from tests.console.pages import saga

pytestmark = pytest.mark.django_db

COLUMNS = [
    (Span, "correlation_id"),
    (Event, "correlation_id"),
    (Event, "causation_id"),
    (Event, "trace_id"),
    (SagaStepExecution, "waiting_for"),
    (CircuitTransition, "trace_id"),
]


def plan_of(rows):
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")  # on an empty table a walk is the cheapest
        return rows.explain()


@pytest.mark.parametrize(("model", "column"), COLUMNS)
def test_what_is_given_is_found_by_its_index(model, column):
    plan = plan_of(model.objects.filter(given(column, "order-7")).order_by())

    assert "SCAN" not in plan.upper().replace("INDEX SCAN", "").replace("INDEX ONLY SCAN", ""), plan


@pytest.mark.parametrize("column", ["parent_id", "rerun_of_id"])
def test_the_family_of_a_run_is_found_by_its_index(column):
    plan = plan_of(SagaExecution.objects.filter(**{column: saga().pk}).order_by("created_at"))

    assert "saga_children" in plan or "saga_reruns" in plan, plan


def test_a_search_finds_what_one_of_the_columns_has_and_keeps_to_the_filter():
    one, other = saga(), saga()
    SagaExecution.objects.filter(pk=one.pk).update(correlation_id="order-7", trace_id="a" * 32)
    SagaExecution.objects.filter(pk=other.pk).update(correlation_id="order-8", trace_id="b" * 32)
    columns = ("correlation_id", "trace_id")

    assert list(known_as(SagaExecution.objects.all(), columns, "order-7")) == [one]
    assert list(known_as(SagaExecution.objects.all(), columns, "b" * 32)) == [other]
    assert not known_as(SagaExecution.objects.filter(status="failed"), columns, "order-7")
    assert not known_as(SagaExecution.objects.all(), columns, "order")


def test_a_search_goes_through_a_relation_too():
    assert not known_as(DeadLetter.objects.all(), ("fingerprint", "event__event_id"), "e-1")
