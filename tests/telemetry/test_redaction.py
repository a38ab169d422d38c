import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.telemetry.redaction import REDACTED, Redactor, is_secret_key

CANARY = "canary-8f3a77"


SECRET_KEYS = ["password", "PASSWD", "db_password", "api_key", "apiKey", "X-Api-Key", "Authorization", "set-cookie", "access_token", "pin"]
HARMLESS_KEYS = ["name", "tokens_used", "max_tokens", "prompt_tokens", "opinion", "spinner", "author", "passenger_count"]
TEXTS = st.sampled_from(["x", CANARY, f"a {CANARY} b", 1, None])
NESTED = st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner))


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_a_field_of_this_name_is_redacted(key):
    assert Redactor().value({key: CANARY}) == {key: REDACTED}


@pytest.mark.parametrize("key", HARMLESS_KEYS)
def test_a_field_that_only_sounds_like_it_is_not(key):
    assert not is_secret_key(key)


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {CANARY}",
        f"postgres://hub:{CANARY}@db/hub",
        f"redis://:{CANARY}@host",
        f"login with password={CANARY} failed",
        f"{{'api_key': '{CANARY}', 'a': 1}}",
        f'{{"client_secret": "{CANARY}"}}',
        f"GET /api/v1/sagas/hub_0123abcd_{CANARY}-and-more-of-it",
    ],
)
def test_what_has_the_shape_of_a_secret_is_redacted_in_any_text(text):
    assert CANARY not in Redactor().text(text)


@given(NESTED)
def test_a_known_secret_is_nowhere_whatever_it_is_called(value):
    assert CANARY not in str(Redactor([CANARY]).value(value))


def test_containers_are_copied_not_changed():
    given = {"password": CANARY, "list": [{"token": CANARY}]}

    redacted = Redactor().value(given)

    assert redacted == {"password": REDACTED, "list": [{"token": REDACTED}]}
    assert given["password"] == CANARY
