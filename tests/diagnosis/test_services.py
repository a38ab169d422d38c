"""Why it is stuck, asked of real rows, queues and breakers."""

import json
import time
import uuid

import pytest
import redis
from celery import Celery
from django.conf import settings
from django.core.management import call_command

from hub.diagnosis import services
from hub.embedded import free_port
from hub.errors import IntegrationError
from hub.redis_client import client
from hub.routing.models import RoutedRequest
from hub.telemetry import readers
from sagas import engine, handover
from sagas import services as sagas
from sagas.models import SagaExecution, SagaStepExecution
from sagas.states import Direction

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _alone(no_worker):
    client().flushdb()


def start(name="with_tools", **context):
    return sagas.start(name, {"plan": {}, **context})["execution_id"]


def nobody_reads_since(queue, moment):
    client().set(readers.ASKED_KEY, client().time()[0])
    client().hset(readers.LAST_READ_KEY, queue, moment)


def test_a_saga_whose_layer_is_away_names_the_queue_and_when_it_is_parked():
    execution_id = start()
    engine.perform(execution_id, 0, Direction.DO)
    handover.begin(execution_id, 1, Direction.DO)  # asks the workers on the broker: none reads the queue
    nobody_reads_since("tools", 1_700_049_600.0)

    found = services.why(execution_id)

    blocked_at = SagaExecution.objects.get(pk=execution_id).blocked_at.timestamp()
    assert found.headline.startswith("waiting ")
    assert found.because == "queue tools has no consumer since 2023-11-15 12:00:00"
    assert found.then == f"the sweeper parks it at {clock_of(blocked_at + settings.HUB.saga_orphan_sec)}"


def clock_of(seconds):
    from hub.diagnosis.rules import _clock

    return _clock(seconds, time.time())


def test_a_saga_that_waits_for_a_signal_says_so_by_any_of_its_ids(capsys):
    execution_id = start("approval")
    engine.perform(execution_id, 0, Direction.DO)
    row = SagaExecution.objects.get(pk=execution_id)

    for identifier in (execution_id, row.trace_id, row.correlation_id):
        assert services.why(identifier).because == "step ask waits for signal:approved"
    call_command("why", execution_id, "--json")
    assert json.loads(capsys.readouterr().out)["because"] == "step ask waits for signal:approved"


def test_an_undo_that_was_given_up_is_named_and_not_the_error_before_it():
    execution_id = start()
    first, then = ({"code": "E11442", "message": "no room"}, {"code": "E11444", "message": "the bank is closed"})
    SagaExecution.objects.filter(pk=execution_id).update(status="needs_operator", cause="step_failed", error=first)
    SagaStepExecution.objects.filter(execution=execution_id, index=0).update(status="compensation_failed", undo_error=then)

    assert services.why(execution_id).because == "the undo of a failed (E11444 the bank is closed)"


def test_a_saga_is_found_by_its_idempotency_key():
    execution_id = sagas.start("approval", {"plan": {}}, idempotency_key="order-7/approval")["execution_id"]
    sagas.cancel(execution_id, reason="wrong customer")

    assert services.why("order-7/approval").headline.startswith("not stuck: compensated for ")
    with pytest.raises(IntegrationError, match="E11920"):
        services.why("order-7/appro")


def test_an_ended_saga_is_not_stuck():
    execution_id = start()
    sagas.cancel(execution_id, reason="wrong customer")

    assert services.why(execution_id).headline.startswith("not stuck: compensated for ")


def test_a_request_that_waits_in_the_queue_is_found_by_its_ids():
    nobody_reads_since("hub", 1_700_049_600.0)
    with Celery(broker=settings.REDIS_URL, set_as_current=False) as app:
        app.send_task("hub.requests.route", kwargs={}, queue="hub")
        sent = app.send_task("hub.requests.route", kwargs={}, queue="hub", headers={"x-correlation-id": "order-7"})

    for identifier in (sent.id, "order-7"):
        assert services.why(identifier).because == "queue hub has no consumer since 2023-11-15 12:00:00"


def test_a_request_that_waits_with_a_priority_is_found_behind_those_that_are_read_first():
    with Celery(broker=settings.REDIS_URL, set_as_current=False) as app:
        sent = [app.send_task("hub.requests.route", kwargs={}, queue="hub", priority=priority) for priority in (9, 3, 0)]

    said = [services.why(one.id).because for one in sent]

    assert said == [f"its message is number {place} of 3 in queue hub" for place in (3, 2, 1)]


@pytest.mark.parametrize("message", ['{"headers": null}', '{"headers": "x"}', "[" * 100_000, "[]"])
def test_an_odd_message_in_the_queue_hides_no_request(message):
    client().rpush("hub", message)
    with Celery(broker=settings.REDIS_URL, set_as_current=False) as app:
        sent = app.send_task("hub.requests.route", kwargs={}, queue="hub")

    assert services.why(sent.id).because == "its message is number 2 of 2 in queue hub"


def test_a_request_that_ended_is_told_by_its_row():
    row = RoutedRequest.objects.create(
        service_name="L02",
        method="GET",
        path="/x",
        outcome="nothing_sent",
        code="E11340",
        duration_ms=3,
        trace_id="ab" * 16,
        correlation_id="c-1",
    )

    assert str(services.why(row.correlation_id)) == "not stuck: ended 0 s ago: GET L02/x: E11340 (nothing was sent) after 3 ms"


def test_a_saga_is_found_by_the_beginning_of_its_id():
    execution_id = start("approval")

    for beginning in (execution_id[:4], execution_id[:9].upper(), execution_id[:20]):
        assert services.why(beginning).headline.startswith("waiting ")


def test_a_beginning_that_several_sagas_share_is_refused():
    execution_id = start("approval")
    other = SagaExecution.objects.get(pk=execution_id)
    other.pk = uuid.UUID(execution_id[:8] + "0" * 24)
    other.save(force_insert=True)

    with pytest.raises(IntegrationError, match=r"^E11908: several sagas begin with "):
        services.why(execution_id[:8])


def test_an_id_of_a_request_is_not_taken_for_the_beginning_of_a_sagas():
    number = start("approval")[:4]
    RoutedRequest.objects.create(
        service_name="L02", method="GET", path="/x", outcome="ok", duration_ms=3, trace_id="ab" * 16, correlation_id=number
    )

    assert services.why(number).because.startswith("GET L02/x")


def test_without_redis_what_the_database_knows_is_told_and_the_rest_is_not_claimed(settings):
    RoutedRequest.objects.create(
        service_name="L02", method="GET", path="/x", outcome="ok", duration_ms=3, trace_id="ab" * 16, correlation_id="c-1"
    )
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    assert services.why("c-1").headline == "not stuck: ended 0 s ago"
    with pytest.raises(IntegrationError, match=r"^E11941: "):
        services.why("order-8")


def test_a_redis_that_froze_is_asked_once(settings, monkeypatch):
    asked = []

    def silent(*_, **__):
        asked.append(1)
        raise redis.TimeoutError

    monkeypatch.setattr(redis.Redis, "execute_command", silent)

    with pytest.raises(IntegrationError, match=r"^E11941: "):
        services.why("order-8")
    assert len(asked) == 1


def test_an_unknown_id_is_said_to_be_unknown_and_a_malformed_one_refused():
    with pytest.raises(IntegrationError, match=r"^E11920: nothing is known of '[0-9a-f-]{36}'") as raised:
        services.why(str(uuid.uuid4()))
    assert "7 days" in raised.value.recovery_suggestion
    with pytest.raises(IntegrationError, match="E11908"):
        services.why("x" * 200)
