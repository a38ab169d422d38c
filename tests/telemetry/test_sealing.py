import json

import pytest
from django.db import connection

from hub.events import messages
from hub.events.messages import EventMessage
from hub.telemetry.redaction import REDACTED, Redactor, is_sealed
from hub.telemetry.sealing import Sealer
from sagas import services
from sagas.models import SagaExecution

SEALER = Sealer("the hub's own key", Redactor(["known-canary"]))
SECRETS = {
    "password": "canary-1234",
    "nested": [{"api_key": {"id": 1, "value": "canary-1234"}}],
    "url": "https://ann:canary-1234@host/",
    "note": "it is known-canary",
    "pin": 1234,
}
PLAIN = {"app": "shop", "n": 3, "none": None, "max_tokens": 5, "list": ["a", {"b": 1.5}], "text": "ä" * 100}


def test_what_is_sealed_can_be_opened_and_not_read():
    sealed = SEALER.seal(SECRETS | PLAIN)

    assert "canary" not in json.dumps(sealed)
    assert sealed["nested"][0]["api_key"].keys() == {"$sealed"}
    assert {name: sealed[name] for name in PLAIN} == PLAIN
    assert SEALER.open(sealed) == SECRETS | PLAIN


def test_sealing_again_changes_nothing_and_two_seals_differ():
    once = SEALER.seal(SECRETS)

    assert SEALER.seal(once) == once
    assert SEALER.seal(SECRETS)["password"] != once["password"]


@pytest.mark.parametrize("forged", ["", "x", "AAAA", "\ud800", 7, None])
def test_what_nobody_sealed_stays_as_it_is(forged):
    assert SEALER.open({"a": {"$sealed": forged}}) == {"a": {"$sealed": forged}}


def test_another_key_opens_nothing_and_a_changed_text_is_refused():
    sealed = SEALER.seal({"password": "canary-1234"})
    text = sealed["password"]["$sealed"]
    changed = {"password": {"$sealed": ("A" if text[30] != "A" else "B").join([text[:30], text[31:]])}}

    assert Sealer("another key", Redactor()).open(sealed) == sealed
    assert SEALER.open(changed) == changed


def test_a_screen_shows_no_sealed_value():
    assert Redactor().value({"a": {"$sealed": "x"}}) == {"a": REDACTED}
    assert is_sealed({"$sealed": "x"})
    assert not is_sealed({"$sealed": "x", "more": 1})


@pytest.mark.django_db
def test_a_sagas_context_is_sealed_in_its_table_and_itself_for_its_steps():
    execution_id = services.start("three_steps", {"plan": {}, "db_password": "canary-1234"})["execution_id"]

    with connection.cursor() as cursor:
        cursor.execute("SELECT input, context FROM sagas_sagaexecution")
        assert "canary" not in str(cursor.fetchall())
    assert SagaExecution.objects.get(pk=execution_id).input["db_password"] == "canary-1234"
    assert services.status(execution_id)["context"]["db_password"] == "canary-1234"


def test_an_event_is_sealed_on_its_way_and_itself_at_its_end():
    event = EventMessage.create("agent.created", "created", {"credential": "canary-1234", "agent": "a"})

    text = messages.encode(event, max_bytes=10_000)

    assert "canary" not in text
    assert messages.decode(text).payload == event.payload
