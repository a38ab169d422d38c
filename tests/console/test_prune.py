"""`manage.py prune` deletes in every room what is beyond its retention, and only counts when asked to."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from hub.routing.models import KeptAnswer, RoutedRequest
from hub.telemetry import store
from hub.telemetry.models import Span
from hub.telemetry.values import TraceSpan
from sagas import services
from sagas.models import SagaExecution

pytestmark = pytest.mark.django_db
LONG_AGO = timedelta(days=500)


@pytest.fixture
def _old_and_new():
    now = timezone.now()
    for at in (now, now - LONG_AGO):
        store.write([TraceSpan("x", "s", start=at, end=at)])
        values = {"trace_id": "ab" * 16, "correlation_id": "c"}
        RoutedRequest.objects.create(service_name="L02", method="GET", path="/", outcome="ok", duration_ms=1, created_at=at, **values)
        KeptAnswer.objects.create(service_name="L02", key=str(at), status="answered", created_at=at)
        run = services.start("three_steps", {})["execution_id"]
        services.cancel(run, reason="no")
        SagaExecution.objects.filter(pk=run).update(finished_at=at)


def left():
    return [model.objects.count() for model in (Span, RoutedRequest, KeptAnswer, SagaExecution)]


@pytest.mark.usefixtures("_old_and_new")
def test_a_dry_run_counts_and_deletes_nothing_and_the_real_one_deletes_that(capsys):
    before = left()
    call_command("prune", "--dry-run")
    counted = capsys.readouterr().out

    assert left() == before
    assert {"spans expired: 1", "requests: 1", "kept answers: 1", "sagas: 1", "nothing was deleted"} <= set(counted.splitlines())

    call_command("prune")

    assert set(counted.splitlines()) - {"nothing was deleted"} == set(capsys.readouterr().out.splitlines())
    assert left() == [number - 1 for number in before]
