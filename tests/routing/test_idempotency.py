"""The same key means the same request."""

import threading
import time
from datetime import timedelta

import pytest
import time_machine
from django.db import connection, connections
from django.utils import timezone

from hub.errors import IntegrationError, RequestFailed
from hub.routing import history, idempotency, services
from hub.routing.models import KeptAnswer, RoutedRequest


def ask(service, path="/execute", key="k-1", timeout=5, **options):
    return services.route(service, "POST", path, idempotency_key=key, timeout=timeout, **options)


def test_the_second_call_gets_the_first_answer_and_nothing_is_sent(service, target):
    first = ask(service, data={"a": 1})
    second = ask(service, data={"a": 1})

    assert second.body == first.body
    assert second.decision == {**first.decision, "kept": True}
    assert len(target.requests) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"data": {"a": 2}},
        {"path": "/other", "data": {"a": 1}},
        {"params": {"x": 1}, "data": {"a": 1}},
        {"headers": {"Authorization": "Bearer somebody-else"}, "data": {"a": 1}},
    ],
)
def test_the_same_key_with_another_request_is_refused(service, target, other):
    first = ask(service, data={"a": 1})

    with pytest.raises(IntegrationError) as caught:
        ask(service, **other)

    assert caught.value.code == "E11321"
    assert len(target.requests) == 1
    assert ask(service, data={"a": 1}).body == first.body


def test_a_key_belongs_to_one_service(service, target, register):
    ask(service)
    ask(register(target.url))

    assert len(target.requests) == 2


@pytest.mark.parametrize("path", ["/status/500", "/status/409", "/close"])
def test_after_a_failure_the_same_request_is_sent_again_under_the_same_key(service, target, path):
    for _ in range(2):
        with pytest.raises(IntegrationError):
            ask(service, path)

    assert len(target.requests) >= 2
    assert {headers["idempotency-key"] for _, _, headers, _ in target.requests} == {"k-1"}


def test_a_claim_whose_holder_died_goes_to_the_next_when_its_lease_ends(service, target):
    ask(service)
    KeptAnswer.objects.update(status="claimed", answer=None, lease_until=timezone.now() + timedelta(seconds=0.2))

    result = ask(service)

    assert result.status_code == 200
    assert len(target.requests) == 2


def test_a_machine_whose_clock_is_ahead_takes_no_claim_that_is_alive(service, target):
    ask(service)
    KeptAnswer.objects.update(status="claimed", answer=None, lease_until=timezone.now() + timedelta(seconds=60))

    with time_machine.travel(timezone.now() + timedelta(seconds=120)), pytest.raises(IntegrationError, match=r"^E11322: "):
        ask(service, timeout=0.3)

    assert len(target.requests) == 1


def test_while_the_first_is_under_way_the_second_ends_with_its_own_deadline(service, target):
    ask(service)
    KeptAnswer.objects.update(status="claimed", answer=None, lease_until=timezone.now() + timedelta(seconds=60))
    started = time.monotonic()

    with pytest.raises(IntegrationError) as caught:
        ask(service, timeout=0.3)

    assert caught.value.code == "E11322"
    assert time.monotonic() - started < 5
    assert len(target.requests) == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_is_sent_and_all_get_its_answer(target, register):
    service, results = register(target.url), []

    def call():
        try:
            results.append(ask(service, "/slow/0.3").body)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert results == [{"slow": True}] * 6
    assert len(target.requests) == 1


def test_history_and_answers_end_with_their_retention(service):
    ask(service)
    long_ago = timezone.now() - timedelta(days=400)
    KeptAnswer.objects.update(created_at=long_ago)
    RoutedRequest.objects.update(created_at=long_ago)
    ask(service, key="k-2")

    assert (idempotency.prune(), history.prune()) == (1, 1)
    assert KeptAnswer.objects.get().key == "k-2"


def test_an_answer_is_kept_for_a_day_from_when_it_was_asked_for_not_from_the_first_try(service, target):
    ask(service)
    KeptAnswer.objects.update(status="failed", answer=None, created_at=timezone.now() - timedelta(days=2))

    ask(service)
    pruned = idempotency.prune()

    assert (pruned, ask(service).decision["kept"], len(target.requests)) == (0, True, 2)


def test_an_answer_with_a_header_that_no_database_takes_is_kept(service, target):
    first = ask(service, "/nul-in-header")

    assert ask(service, "/nul-in-header").headers == first.headers
    assert (first.headers["x-odd"], len(target.requests)) == ("a\ufffdb", 1)


def test_an_answer_that_another_secret_key_sealed_is_not_given_as_a_good_one(service, target, settings):
    ask(service, "/secret")
    settings.SECRET_KEY = "another-key-of-the-same-hub-after-a-rotation-of-keys"

    with pytest.raises(RequestFailed) as caught:
        ask(service, "/secret")

    assert (caught.value.code, caught.value.outcome, len(target.requests)) == ("E11325", "unknown", 1)


def test_without_the_table_of_keys_nothing_is_sent_and_a_code_says_why(service, target):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE routing_keptanswer RENAME TO elsewhere")

    with pytest.raises(IntegrationError, match=r"^E11933: "):
        ask(service)

    assert target.requests == []
