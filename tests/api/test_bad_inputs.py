"""Every bad input of this entrance gets its code and has no effect."""

import gzip
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from hub.api import tokens
from hub.routing.models import KeptAnswer, RoutedRequest
from sagas.models import SagaExecution
from tests.api.conftest import Caller
from tests.telemetry.compact import load

pytestmark = pytest.mark.django_db

ENTRIES = load(Path(__file__).parent / "data" / "bad_inputs.json")
CALLS = [entry for entry in ENTRIES if "path" in entry["input"]]


@pytest.fixture
def known(caller):
    """What the entries name by a dollar sign."""
    revoked = Caller(name="gone")
    tokens.revoke("gone")
    browser = Client()
    browser.force_login(User.objects.create_superuser("root", password="correct horse battery"))
    session = browser.cookies["sessionid"].value
    # No object here has an owner: that of another is one that is not there.
    return {"$TOKEN": caller.text, "$REVOKED": revoked.text, "$SESSION": session, "$OTHERS_ID": "7"}


def filled(text, known):
    for name, value in known.items():
        text = text.replace(name, value)
    return text


def body_of(body):
    if isinstance(body, dict):
        return gzip.compress(bytes(body["$gzip_bomb"]))
    return body or ""


@pytest.mark.parametrize("entry", CALLS, ids=lambda entry: entry["title"])
def test_a_bad_call_is_refused(entry, known, caplog, capfd):
    given, expected = entry["input"], entry["expect"]
    headers = {name: filled(value, known) for name, value in given["headers"].items()}
    content_type = headers.pop("Content-Type", "application/octet-stream")
    cookie = headers.pop("Cookie", "")

    path = filled(given["path"], known)
    answer = Client(HTTP_COOKIE=cookie).generic(given["method"], path, body_of(given["body"]), content_type=content_type, headers=headers)

    problem = answer.json()
    assert (problem["code"], answer.status_code, problem["retry"]) == (expected["code"], expected["http"], expected["retry"])
    assert answer["Content-Type"] == "application/problem+json"
    assert not RoutedRequest.objects.exists()
    assert not KeptAnswer.objects.exists()
    said = caplog.text + "".join(capfd.readouterr()) + answer.content.decode()
    assert not any(secret in said for secret in (known["$TOKEN"], known["$REVOKED"], known["$SESSION"]))


def test_a_token_has_its_share_of_the_minute(caller, settings):
    settings.HUB = settings.HUB.model_copy(update={"api_max_per_min": 3})

    # A minute may end in between: then the count begins anew, but not twice.
    answers = [caller.get("/subscriptions") for _ in range(8)]

    assert 200 in {answer.status_code for answer in answers}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.json()["code"] for answer in refused} == {"E11961"}
    assert 1 <= int(refused[0]["Retry-After"]) <= 60


SAGA = "/sagas"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"saga_name": "three_steps", "context": {"a": NaN}}', "E11905"),
        ('{"saga_name": "three_steps", "context": {"a": 1e999}}', "E11905"),
        ('{"saga_name": "three_steps", "context": {"a": "\\u0000"}}', "E11905"),
        ('{"saga_name": "three_steps", "context": {"a": "\\ud800"}}', "E11905"),
        ('{"saga_name": "three_steps", "context": {"a": 9223372036854775808}}', "E11905"),
        ('{"saga_name": "three_steps", "saga_name": "three_steps"}', "E11907"),
        ('{"saga_name": "three_steps", "context": ' + '{"a":' * 70 + "1" + "}" * 71, "E11906"),
        ("[" * 100_000, "E11906"),
        (b'{"saga_name": "\xff"}', "E11904"),
        ("", "E11901"),
        ("{}", "E11901"),
        ("[]", "E11902"),
        ('{"saga_name": "three_steps", "colour": "red"}', "E11903"),
        ('{"saga_name": 7}', "E11902"),
        ('{"saga_name": "three_steps", "context": {"a": "' + "x" * 2_100_000 + '"}}', "E11960"),
        (b"x" * 3_000_000, "E11960"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_body_is_refused(caller, body, code):
    answer = caller.post(SAGA, body)

    assert (answer.json()["code"], answer.status_code) == (code, answer.json()["status"])
    assert not SagaExecution.objects.exists()
