"""Secrets that must be kept to work: sealed where they are stored, opened where they are used.

What the redactor would hide (by key name, known value or shape) is replaced by ``{"$sealed": ...}`` before it is written to
a table or to the stream of events, and is itself again for the step, the subscriber or the caller it was meant for. Whoever
reads a table, a backup or Redis without the secret key of the hub learns nothing but its length.

The cipher is HMAC-SHA256 in counter mode, then a MAC over nonce and text (encrypt-then-MAC, both halves with a key of their
own): of the standard library alone, for there is no AES in it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from hub.telemetry.redaction import MAX_DEPTH, SEALED, Redactor, is_sealed, is_secret_key

_NONCE, _MAC, _BLOCK = 16, 16, 32


class Sealer:
    """Seals and opens JSON values with one secret key; `redactor` says what is a secret."""

    def __init__(self, secret: str, redactor: Redactor) -> None:
        self._redactor = redactor
        self._stream_key, self._mac_key = (hmac.digest(secret.encode(), f"hub sealing {use}".encode(), "sha256") for use in ("text", "mac"))

    def seal(self, value: Any, *, key: str = "", depth: int = 0) -> Any:
        """Return `value` with every secret in it sealed; what is sealed already stays."""
        if value is None or value == "" or is_sealed(value):
            return value
        if key and is_secret_key(key):
            return self._sealed(value)
        if isinstance(value, str):
            return value if self._redactor.text(value) == value else self._sealed(value)
        if depth >= MAX_DEPTH:
            return value
        if isinstance(value, Mapping):
            return {name: self.seal(item, key=str(name), depth=depth + 1) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.seal(item, depth=depth + 1) for item in value]
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
        nonce = os.urandom(_NONCE)
        text = self._crypt(json.dumps(value).encode(), nonce)
        return {SEALED: base64.b64encode(nonce + text + self._mac(nonce + text)).decode()}

    def _opened(self, value: Mapping[str, Any]) -> Any:
        try:
            packed = base64.b64decode(value[SEALED], validate=True)
        except (binascii.Error, TypeError, ValueError):
            return value
        nonce, text, mac = packed[:_NONCE], packed[_NONCE:-_MAC], packed[-_MAC:]
        if not hmac.compare_digest(mac, self._mac(nonce + text)):
            return value
        return json.loads(self._crypt(text, nonce))

    def _crypt(self, text: bytes, nonce: bytes) -> bytes:
        blocks = range(-(-len(text) // _BLOCK))
        stream = b"".join(hmac.digest(self._stream_key, nonce + number.to_bytes(8, "big"), "sha256") for number in blocks)
        return bytes(one ^ other for one, other in zip(text, stream, strict=False))

    def _mac(self, data: bytes) -> bytes:
        return hmac.new(self._mac_key, data, hashlib.sha256).digest()[:_MAC]


def sealer() -> Sealer:
    """Return the sealer of this deployment."""
    from django.conf import settings

    from hub.telemetry.secrets import redactor

    return _sealer(settings.SECRET_KEY, redactor())


@lru_cache(maxsize=4)
def _sealer(secret: str, redactor: Redactor) -> Sealer:
    return Sealer(secret, redactor)
