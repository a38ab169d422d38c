"""The rows of requests: all or none, and never at the cost of an answer."""

import pytest
from django.db import connection, transaction

from hub.errors import RequestFailed
from hub.routing import history, services
from hub.routing.endings import Ending
from hub.routing.models import RoutedRequest


def ending(**changes):
    known = {"service_name": "s", "method": "GET", "path": "/x", "outcome": "ok", "duration_ms": 1.5, "trace_id": "a" * 32}
    row = RoutedRequest(**known | {"correlation_id": "order-7", "decision": {"why": "asked for"}} | changes)
    return Ending(row=row, found=RequestFailed("E11340"))


@pytest.mark.django_db(transaction=True)
def test_a_row_is_read_as_it_was_written():
    history.record([ending(status_code=None, idempotency_key="k-1")])

    kept = RoutedRequest.objects.get()
    assert (kept.decision, kept.status_code, kept.idempotency_key, kept.duration_ms) == ({"why": "asked for"}, None, "k-1", 1.5)
    assert kept.created_at.tzinfo is not None


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.django_db(transaction=True)
def test_a_row_that_the_database_refuses_takes_none_with_it_and_raises_nothing(rows):
    good = [ending() for _ in range(rows - 1)]

    history.record([*good, ending(outcome="what?")])

    assert RoutedRequest.objects.count() == 0
    history.record([ending()])
    assert RoutedRequest.objects.count() == 1


def test_within_a_transaction_a_refused_row_spoils_nothing_around_it(db):
    with transaction.atomic():
        history.record([ending(outcome="what?")])
        history.record([ending()])

    assert RoutedRequest.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_answer_comes_even_when_its_row_cannot_be_written(service):
    with connection.schema_editor() as editor:
        editor.execute("ALTER TABLE routing_routedrequest RENAME TO elsewhere")
    try:
        assert services.route(service, "GET", "/x").status_code == 200
    finally:
        with connection.schema_editor() as editor:
            editor.execute("ALTER TABLE elsewhere RENAME TO routing_routedrequest")
