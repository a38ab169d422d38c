"""Which texts are secrets of this deployment: they are redacted wherever they appear."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from django.conf import settings

from hub.conf import HubSettings
from hub.telemetry.redaction import Redactor


def known_secrets() -> list[str]:
    """Return the secret key, the passwords in the addresses of Redis and the database, what goes to services, and HUB_REDACTED_VALUES."""
    passwords = [urlsplit(url).password for url in (settings.REDIS_URL, settings.HUB.resolved_database_url())]
    listed = [text.strip() for text in settings.HUB.redacted_values.split(",")]
    given = [text for password in passwords if password for text in (password, unquote(password))]
    sent = [value.rpartition(" ")[2] for value in settings.HUB.credentials().values()]  # without "Bearer"
    return [text for text in [settings.SECRET_KEY, settings.HUB.telemetry_token, *given, *sent, *listed] if text]


def redactor() -> Redactor:
    """Return the redactor of this deployment."""
    global _made
    given = (settings.HUB, settings.SECRET_KEY, settings.REDIS_URL)
    # It is asked for a dozen times per step of a saga; its settings change in tests only.
    if _made is None or _made[0][0] is not given[0] or _made[0][1:] != given[1:]:
        _made = given, _redactor(tuple(known_secrets()))
    return _made[1]


_made: tuple[tuple[HubSettings, str, str], Redactor] | None = None


@lru_cache(maxsize=4)
def _redactor(secrets: tuple[str, ...]) -> Redactor:
    return Redactor(secrets)


_KEY_OF_A_STEP = re.compile(r"saga:[0-9a-f-]{36}:(?P<step_id>[A-Za-z0-9_.-]{1,64}):(do|undo)(:\d+)?")


def hides_key(key: str) -> bool:
    """Tell whether there is something to hide in an idempotency key.

    Of a key that the hub made for a step of a saga only the step's id is judged: ``issue_token:do`` as a whole reads like
    the name of a secret and its value.
    """
    own = _KEY_OF_A_STEP.fullmatch(key)
    return redactor().hides(own["step_id"] if own else key)
