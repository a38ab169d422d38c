import pytest
import redis
from django.db import OperationalError

from hub.api.refusals import refusal_of
from hub.errors import CircuitOpen, ErrorCode, RequestFailed
from hub.telemetry import problems


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ValueError("password=hunter2"), "E11900"),
        (OperationalError("no route to db.internal"), "E11940"),
        (OperationalError("database is locked: /srv/hub.sqlite3"), "E11943"),
        (redis.ConnectionError("redis.internal refused"), "E11941"),
    ],
)
def test_a_failure_inside_is_one_code_and_says_nothing_of_the_inside(failure, code):
    body = problems.body(refusal_of(failure))

    assert body["code"] == code
    assert str(failure) not in str(body)


def test_a_problem_says_what_helps_the_caller():
    open_ = problems.answer(CircuitOpen(ErrorCode.BREAKER_OPEN, "L02 is open", retry_after_sec=1.2))
    failed = problems.body(RequestFailed(ErrorCode.UPSTREAM_SERVER_ERROR, "no", outcome="answered", status_code=500))

    assert (open_.status_code, open_["Retry-After"]) == (503, "2")
    assert (failed["outcome"], failed["status_code"], failed["retry"]) == ("answered", 500, "same_key")
    assert "retry_after_sec" not in failed
