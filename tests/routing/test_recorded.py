"""The history of a service's requests, shown to a breaker with other thresholds."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from hub.circuits import services
from hub.errors import ErrorCode, IntegrationError
from hub.routing import recorded
from hub.routing.models import RoutedRequest

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
GOOD = {"code": "", "outcome": "ok", "status_code": 200, "connect_ms": 1, "server_ms": 9, "waited_ms": 0}
BROKEN = {"code": "E11343", "outcome": "unknown", "status_code": None, "connect_ms": 0, "server_ms": 0, "waited_ms": 0}


def keep(*attempts, at=NOW, duration_ms=10.0, code="", service_name="L04"):
    outcome = "ok" if attempts and attempts[-1] is GOOD else "unknown"
    return RoutedRequest.objects.create(
        service_name=service_name, method="GET", path="/", outcome=outcome, code=code, duration_ms=duration_ms,
        decision={"attempts": list(attempts)}, created_at=at,
    )  # fmt: skip


def spans(found):
    end = NOW.timestamp() * 1000
    return [(call.started_ms - end, call.ended_ms - end, call.ok) for call in found.calls]


def test_an_attempt_with_an_answer_took_what_it_says_and_one_without_the_rest():
    keep(BROKEN, {**GOOD, "waited_ms": 100}, duration_ms=510.0)

    assert spans(recorded.calls("L04", since=NOW)) == [(-510, -110, False), (-10, 0, True)]


@pytest.mark.parametrize(
    ("attempt", "ok"),
    [
        ({"code": "E11345", "status_code": 404}, True),
        ({"code": "E11350", "status_code": 429}, False),
        ({"code": "E11344", "status_code": 500}, False),
        ({"code": "E11340"}, False),
        ({"code": "E11324"}, None),
        ({"code": "", "outcome": "unknown"}, None),
        ({"code": "E11999", "status_code": 500}, None),
    ],
    ids=str,
)
def test_each_attempt_is_judged_as_the_breaker_did(attempt, ok):
    keep({**BROKEN, **attempt})

    assert [call.ok for call in recorded.calls("L04", since=NOW).calls] == [ok]


def test_what_the_breaker_refused_what_is_older_and_what_others_did_are_no_calls():
    keep(code="E11220", at=NOW + timedelta(seconds=1))
    keep(GOOD, at=NOW - timedelta(seconds=1))
    keep(GOOD, service_name="L05")

    found = recorded.calls("L04", since=NOW)

    assert (found.calls, found.refused, found.since) == ([], 1, NOW + timedelta(seconds=1))


def test_of_many_the_newest_are_read_and_from_when_on_is_said():
    for second in range(5):
        keep(GOOD, at=NOW + timedelta(seconds=second))

    found = recorded.calls("L04", since=NOW, limit=2)

    assert (len(found.calls), found.since) == (2, NOW + timedelta(seconds=3))


def test_other_thresholds_are_compared_with_those_in_force(service):
    services.configure(service, {"failure_threshold": 4})
    for second in range(5):
        keep(BROKEN, at=timezone.now() - timedelta(seconds=60 - second), service_name=service)

    found = recorded.what_if(service, {"failure_threshold": 2}, hours=1)

    assert (found["calls"], found["failed"]) == (5, 5)
    assert (found["as_is"]["refused_failed"], found["what_if"]["refused_failed"]) == (1, 3)


def test_the_command_says_it_in_words_and_as_json(service, capsys):
    for second in range(3):
        keep(BROKEN, at=timezone.now() - timedelta(seconds=60 - second), service_name=service)
    keep(code="E11220", at=timezone.now(), service_name=service)

    call_command("circuits", "what-if", service, "--failure-threshold", "2")
    said = capsys.readouterr().out
    call_command("circuits", "what-if", service, "--failure-threshold", "2", "--json")

    assert f"{service}: 3 calls since" in said
    assert "as it is: openings: 0, refused: 0 good and 0 failing calls, let through: 3 failing ones" in said
    assert "with failure_threshold 2: openings: 1, refused: 0 good and 1 failing calls, let through: 2 failing ones" in said
    assert "(consecutive failures)" in said
    assert "because the breaker refused it then: 1;" in said
    assert json.loads(capsys.readouterr().out)["what_if"]["refused_failed"] == 1


def test_a_service_without_calls_is_said_and_thresholds_that_no_breaker_takes_are_refused(capsys):
    call_command("circuits", "what-if", "L04")

    assert "no call of L04 is recorded" in capsys.readouterr().out
    with pytest.raises(CommandError, match="E11201"):
        call_command("circuits", "what-if", "L04", "--failure-threshold", "0")
    with pytest.raises(IntegrationError) as caught:
        recorded.what_if("a b", {}, hours=1)
    assert caught.value.code is ErrorCode.BREAKER_NAME_INVALID
