"""What may be asked of a service: every argument of a routed request is checked here, before any effect (pure)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from hub.errors import ErrorCode, IntegrationError
from hub.json_values import check_json
from hub.routing import paths
from hub.routing.context import HEADER_NAMES
from hub.telemetry.redaction import is_secret_key

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
MAX_HEADERS = 64
MAX_HEADER_BYTES = 8_192
MAX_QUERY_BYTES = 4_096
BINARY_KEY = "$base64"
"""``{"$base64": "..."}`` as data sends the bytes, and stands for bytes in an answer: JSON has none of its own."""

HUB_HEADERS = frozenset(
    [
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "idempotency-key",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-request-deadline",
    ]
)
HUB_HEADER_PREFIX = "x-hub-"

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a request may cost: seconds and bytes."""

    timeout_sec: float = 30.0
    max_timeout_sec: float = 300.0
    max_body_bytes: int = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A checked request, not yet bound to an instance; ``target`` is the encoded path with its query."""

    service_name: str
    method: str
    target: str
    timeout_sec: float
    headers: dict[str, str] = field(default_factory=dict)
    context_headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    data: Any = field(default=None, repr=False)
    idempotency_key: str = ""

    @property
    def path(self) -> str:
        """Return the path without its query, which may hold what should not be stored."""
        return self.target.partition("?")[0]

    @property
    def is_repeatable(self) -> bool:
        """Tell whether sending it twice does no more than sending it once."""
        return self.method in IDEMPOTENT_METHODS or bool(self.idempotency_key)

    @property
    def fingerprint(self) -> str:
        """Return what tells this request from another one under the same idempotency key; in another's name it is another."""
        credentials = json.dumps(sorted(one for one in self.headers.items() if is_secret_key(one[0]))).encode()
        parts = (self.service_name.encode(), self.method.encode(), self.target.encode(), self.body or b"", credentials)
        return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def build(
    *,
    service_name: object,
    method: object,
    path: object,
    data: Any = None,
    params: object = None,
    headers: object = None,
    timeout: object = None,
    idempotency_key: object = None,
    limits: Limits,
) -> Request:
    """Check all arguments of a request and return it.

    Errors: E11901 and E11902 for missing and mistyped arguments, E11301 method, E11302 and E11380 path, E11303 and E11383
    headers, E11905 and E11906 data, E11360 its size, E11305 timeout, E11306 idempotency key, E11307 query.
    """
    own, context_headers = check_headers(headers)
    body = encode_body(data, own, max_bytes=limits.max_body_bytes)
    return Request(
        service_name=_text(service_name, "service_name"),
        method=check_method(method),
        target=_with_query(paths.check_path(_text(path, "path")), check_params(params)),
        timeout_sec=check_timeout(timeout, limits),
        headers=own,
        context_headers=context_headers,
        body=body,
        data=data,
        idempotency_key=check_idempotency_key(idempotency_key),
    )


def check_method(method: object) -> str:
    """Return the method in capitals; E11301 for one the hub does not route."""
    name = _text(method, "method").upper()
    if name not in METHODS:
        raise IntegrationError(ErrorCode.METHOD_INVALID, f"{ErrorCode.METHOD_INVALID.text}, not {name!r:.40}")
    return name


def check_timeout(timeout: object, limits: Limits) -> float:
    """Return the time limit in seconds: the default for None; E11305 when not above 0 and within the limit."""
    if timeout is None:
        return limits.timeout_sec
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"timeout must be a number of seconds, not {type(timeout).__name__}")
    if not 0 < timeout <= limits.max_timeout_sec:  # which neither infinity nor what is no number is
        raise IntegrationError(
            ErrorCode.TIMEOUT_INVALID, f"timeout must be above 0 and at most {limits.max_timeout_sec:g} s, not {timeout!s:.20}"
        )
    return float(timeout)


def check_idempotency_key(key: object) -> str:
    """Return the key, or an empty string for None; E11306 when malformed."""
    if key is None:
        return ""
    if not isinstance(key, str) or not _IDEMPOTENCY_KEY.fullmatch(key):
        raise IntegrationError(ErrorCode.IDEMPOTENCY_KEY_INVALID, f"{ErrorCode.IDEMPOTENCY_KEY_INVALID.text}, not {key!r:.80}")
    return key


def check_headers(headers: object) -> tuple[dict[str, str], dict[str, str]]:
    """Split headers into the request's own and those of its context.

    Errors: E11303 malformed, E11383 for one that only the hub may set (it decides where a request ends and who sent it).
    """
    if headers is None:
        return {}, {}
    if not isinstance(headers, Mapping) or len(headers) > MAX_HEADERS:
        raise _bad_headers(f"headers must be an object of at most {MAX_HEADERS} names and values")
    given = {_header_name(name): _header_value(name, value) for name, value in headers.items()}
    if len(given) < len(headers):
        raise _bad_headers("a header is given twice in different spelling")
    if sum(len(name) + len(value) for name, value in given.items()) > MAX_HEADER_BYTES:
        raise _bad_headers(f"headers have more than {MAX_HEADER_BYTES} bytes")
    context = {name: given.pop(name) for name in HEADER_NAMES if name in given}
    return given, context


def check_params(params: object) -> str:
    """Return query parameters encoded; values may be scalars or lists of them, None leaves one out; E11307 otherwise."""
    if params is None:
        return ""
    if not isinstance(params, Mapping):
        raise _bad_query("params must be an object")
    pairs = [(name, _query_text(item)) for name, value in params.items() for item in _as_list(value) if item is not None]
    if not all(isinstance(name, str) and name for name, _ in pairs):
        raise _bad_query("names of params must be texts")
    try:
        query = urlencode(pairs)
    except UnicodeEncodeError:
        raise _bad_query("a lone surrogate in params") from None
    if len(query) > MAX_QUERY_BYTES:
        raise _bad_query(f"the query has {len(query)} bytes, the limit is {MAX_QUERY_BYTES}")
    return query


def encode_body(data: Any, headers: dict[str, str], *, max_bytes: int) -> bytes | None:
    """Return the body to send and set its ``content-type``, if the caller did not.

    Bytes, and ``{"$base64": ...}``, go as they are; text under a content type that is not JSON goes as UTF-8; all else is JSON.
    """
    if data is None:
        return None
    raw = data if isinstance(data, bytes | bytearray) else _from_base64(data)
    if raw is not None:
        headers.setdefault("content-type", "application/octet-stream")
    elif isinstance(data, str) and not is_json_type(headers.get("content-type", "application/json")):
        raw = _utf8(data)
    else:
        raw = check_json(data, what="data", max_bytes=max_bytes, too_large=ErrorCode.REQUEST_TOO_LARGE).encode()
        headers.setdefault("content-type", "application/json")
    if len(raw) > max_bytes:
        raise IntegrationError(ErrorCode.REQUEST_TOO_LARGE, f"data has {len(raw)} bytes, the limit is {max_bytes}")
    return bytes(raw)


def is_json_type(content_type: str) -> bool:
    """Tell whether a content type is JSON (``application/json``, ``application/problem+json``)."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _text(value: object, name: str) -> str:
    if value is None:
        raise IntegrationError(ErrorCode.ARGUMENT_MISSING, f"{name} is missing")
    if not isinstance(value, str):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"{name} must be a text, not {type(value).__name__}")
    return value


def _with_query(target: str, query: str) -> str:
    return f"{target}{'&' if '?' in target else '?'}{query}" if query else target


def _header_name(name: object) -> str:
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise _bad_headers(f"not a header name: {name!r:.80}")
    low = name.lower()
    if low in HUB_HEADERS or low.startswith(HUB_HEADER_PREFIX):
        raise IntegrationError(ErrorCode.HEADER_REFUSED, f"header {low} is set by the hub only", recovery_suggestion="leave it out")
    return low


def _header_value(name: object, value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
        raise _bad_headers(f"the value of header {name!r:.80} must be printable ASCII")
    return text.strip()


def _as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _query_text(item: object) -> str | None:
    if isinstance(item, bool):
        return "true" if item else "false"
    if item is None or isinstance(item, str):
        return item
    if isinstance(item, int) or (isinstance(item, float) and math.isfinite(item)):
        return str(item)
    raise _bad_query(f"a value of type {type(item).__name__} in params")


def _from_base64(data: Any) -> bytes | None:
    if not (isinstance(data, dict) and set(data) == {BINARY_KEY}):
        return None
    try:
        return base64.b64decode(data[BINARY_KEY], validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise IntegrationError(ErrorCode.DATA_NOT_JSON, f"the value of {BINARY_KEY} is not base64") from None


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise IntegrationError(ErrorCode.JSON_VALUE_REFUSED, "data holds a lone surrogate") from None


def _bad_headers(message: str) -> IntegrationError:
    return IntegrationError(ErrorCode.HEADERS_INVALID, message)


def _bad_query(message: str) -> IntegrationError:
    return IntegrationError(ErrorCode.QUERY_INVALID, message)
