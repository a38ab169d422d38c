"""What counts as JSON at the hub's doors: the values that every store and every peer can carry (pure)."""

from __future__ import annotations

import json
import math
from typing import Any

from hub.errors import ErrorCode, IntegrationError

MAX_DEPTH = 64
SEALED = "$sealed"
"""The one key of an object that stands for a sealed value."""
_INT64 = 2**63


def check_json(value: Any, *, what: str, max_bytes: int, too_large: ErrorCode = ErrorCode.MESSAGE_TOO_LARGE) -> str:
    """Return `value` as compact JSON text, or refuse it.

    Errors: E11905 for the key ``$sealed``, NaN, infinity, NUL, lone surrogates, integers beyond 64 bit and non-JSON types; E11906 when
    nested deeper than 64; `too_large` when the text has more than `max_bytes` bytes. Postgres `jsonb` refuses what
    SQLite stores, so the gate is the same for both.
    """
    _check_values(value, what)
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    size = len(text.encode())
    if size > max_bytes:
        raise IntegrationError(too_large, f"{what} has {size} bytes, the limit is {max_bytes}")
    return text


def _check_values(value: Any, what: str) -> None:
    pending = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise IntegrationError(ErrorCode.JSON_TOO_DEEP, f"{what} is nested deeper than {MAX_DEPTH}")
        if isinstance(item, dict):
            if SEALED in item:
                # Whoever saw a sealed value in a table, a backup or a stream would have it opened for himself.
                raise _refused(what, f"a key {SEALED!r}, which the hub keeps for itself")
            for key, child in item.items():
                if not isinstance(key, str):
                    raise _refused(what, f"a key of type {type(key).__name__}")
                _check_text(key, what)
                pending.append((child, depth + 1))
        elif isinstance(item, list | tuple):
            pending.extend((child, depth + 1) for child in item)
        else:
            _check_scalar(item, what)


def _check_scalar(item: Any, what: str) -> None:
    if item is None or isinstance(item, bool):
        return
    if isinstance(item, str):
        return _check_text(item, what)
    if isinstance(item, int):
        if not -_INT64 <= item < _INT64:
            raise _refused(what, "an integer beyond 64 bit")
    elif isinstance(item, float):
        if not math.isfinite(item):
            raise _refused(what, "NaN or an infinity")
    else:
        raise _refused(what, f"a value of type {type(item).__name__}")


def _check_text(text: str, what: str) -> None:
    if "\x00" in text:
        raise _refused(what, "a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refused(what, "a lone surrogate") from None


def _refused(what: str, found: str) -> IntegrationError:
    return IntegrationError(ErrorCode.JSON_VALUE_REFUSED, f"{what} holds {found}", recovery_suggestion="send plain JSON values")


def storable(text: str) -> str:
    """Return a text as every database takes it: without NUL and without halves of characters (as in names of files)."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
