"""Who comes in, and who does not."""

from datetime import timedelta

import pytest
from django.utils import timezone

from hub.api import tokens
from hub.api.models import ApiToken
from hub.embedded import free_port
from hub.telemetry import metrics, services
from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db


def code_of(client, header):
    return client.get("/api/v1/sagas", headers={"Authorization": header} if header else {}).json().get("code")


def test_only_a_whole_and_living_token_comes_in(client, caller):
    stranger = f"hub_{'0' * 8}_{caller.text[13:]}"
    wrong_secret = f"{caller.text[:13]}{'x' * 43}"

    assert code_of(client, f"Bearer {caller.text}") is None
    assert code_of(client, f"bearer {caller.text}") is None
    assert {code_of(client, header) for header in (None, "", "Basic dTpw", caller.text)} == {"E11980"}
    assert {code_of(client, f"Bearer {text}") for text in ("", "nope", stranger, wrong_secret, f"{caller.text}x")} == {"E11981"}


def test_an_ended_token_is_told_so(client):
    expired, revoked = Caller(name="old"), Caller(name="gone")
    ApiToken.objects.filter(name="old").update(expires_at=timezone.now())
    tokens.revoke("gone")

    assert {code_of(client, f"Bearer {one.text}") for one in (expired, revoked)} == {"E11982"}


def test_a_refused_caller_is_told_how_to_come_in(client, db):
    answer = client.get("/api/v1/sagas")

    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")


def test_the_use_of_a_token_is_noted_once_a_minute(caller):
    def used():
        return ApiToken.objects.get(pk=caller.row.pk).last_used_at

    caller.get("/sagas")
    first = used()
    caller.get("/sagas")
    assert used() == first

    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    caller.get("/sagas")
    assert used() >= first


def test_without_redis_calls_go_through_uncounted(caller, settings):
    settings.HUB = settings.HUB.model_copy(update={"api_max_per_min": 1})
    before = services.metric_summary("hub_api_calls_uncounted_total")["sum"]
    redis_url, settings.REDIS_URL = settings.REDIS_URL, f"redis://127.0.0.1:{free_port()}/0"

    answers = [caller.get("/subscriptions").status_code for _ in range(3)]

    assert answers == [200, 200, 200]
    settings.REDIS_URL = redis_url
    metrics.flush()
    assert services.metric_summary("hub_api_calls_uncounted_total")["sum"] == before + 3
