"""Secrets that must be kept to work: sealed where they are stored, opened where they are used.

What the redactor would hide (by key name, known value or shape) is replaced by ``{"$sealed": ...}`` before it is written to
a table or to the stream of events, and is itself again for the step, the subscriber or the caller it was meant for. Whoever
reads a table, a backup or Redis without the secret key of the hub learns nothing but its length.

The seal is a Fernet token (AES-128-CBC with HMAC-SHA256) under a key derived from the secret key of the hub.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from hub.json_values import SEALED
from hub.telemetry.redaction import MAX_DEPTH, Redactor, is_sealed, is_secret_key, key_of, with_keys


class Sealer:
    """Seals and opens JSON values with one secret key; `redactor` says what is a secret."""

    def __init__(self, secret: str, redactor: Redactor) -> None:
        self._redactor = redactor
        self._fernet = Fernet(base64.urlsafe_b64encode(hmac.digest(secret.encode(), b"hub sealing", "sha256")))

    def seal(self, value: Any, *, key: str = "", depth: int = 0) -> Any:
        """Return `value` with every secret in it sealed; what is sealed already stays: nobody from outside may send that (`check_json`)."""
        if value is None or value == "" or is_sealed(value):
            return value
        if key and is_secret_key(key):
            return self._sealed(value)
        if isinstance(value, str):
            return value if self._redactor.text(value) == value else self._sealed(value)
        if depth >= MAX_DEPTH:
            return value
        if isinstance(value, Mapping):
            return {name: self.seal(item, key=key_of(name, value), depth=depth + 1) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.seal(item, key=key, depth=depth + 1) for key, item in with_keys(value)]
        return value

    def open(self, value: Any) -> Any:
        """Return `value` with everything in it opened; what another key sealed, or nobody, stays as it is."""
        if is_sealed(value):
            return self._opened(value)
        if isinstance(value, dict):
            return {name: self.open(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.open(item) for item in value]
        return value

    def _sealed(self, value: Any) -> dict[str, str]:
        return {SEALED: self._fernet.encrypt(json.dumps(value).encode()).decode()}

    def _opened(self, value: Mapping[str, Any]) -> Any:
        try:
            return json.loads(self._fernet.decrypt(value[SEALED]))
        except (InvalidToken, TypeError, ValueError):
            return value


def is_unopened(value: Any) -> bool:
    """Tell whether something in `value`, which was read from where it was kept, is still sealed: by another secret key."""
    return f'"{SEALED}":' in json.dumps(value)


def sealer() -> Sealer:
    """Return the sealer of this deployment."""
    from django.conf import settings

    from hub.telemetry.secrets import redactor

    return _sealer(settings.SECRET_KEY, redactor())


@lru_cache(maxsize=4)
def _sealer(secret: str, redactor: Redactor) -> Sealer:
    return Sealer(secret, redactor)
