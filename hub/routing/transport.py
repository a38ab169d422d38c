"""One HTTP exchange with one instance: pooled, bounded in time and size, and exact about whether anything was sent."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import time
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import requests
from requests.hooks import default_hooks
from urllib3.exceptions import HTTPError, InvalidChunkLength, InvalidHeader, ProtocolError

from hub.errors import ErrorCode, IntegrationError, RequestFailed
from hub.json_values import check_json, storable
from hub.routing.request import BINARY_KEY, is_json_type
from hub.routing.values import Answer
from registry_app.wire import Call, ExceedsLimit, new_session, working_for

READ_BYTES = 65_536
FRAMING_BYTES = 1_048_576
"""What headers and chunk frames may add to the size of an answer."""

_HOP_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "trailer", "upgrade", "proxy-authenticate", "set-cookie"})


@cache
def session() -> requests.Session:
    """Return this process's session: its pools are safe for threads, and a forked child starts with its own."""
    return new_session()


os.register_at_fork(after_in_child=session.cache_clear)


def exchange(
    call: Call, *, method: str, url: str, headers: dict[str, str], body: bytes | None, max_answer_bytes: int, verify: bool | str = True
) -> Answer:
    """Send one request and read its answer, whatever its status.

    Errors (RequestFailed): nothing sent: E11340 connect, E11341 time, E11346 TLS, E11347 name, E11382 address.
    Outcome unknown: E11342 time, E11343 broken connection, E11348 malformed, E11361 and E11362 too large.
    """
    started = time.monotonic()
    try:
        with working_for(call):
            response = (
                session().get_adapter(url).send(_prepared(method, url, headers, body), stream=True, timeout=call.time_left(), verify=verify)
            )
            with response:
                raw, content_type = _read(response, max_answer_bytes), response.headers.get("content-type", "")
    except IntegrationError:
        raise
    except ExceedsLimit:
        raise _too_large(max_answer_bytes) from None
    except (requests.RequestException, HTTPError, http.client.HTTPException, OSError, ValueError) as exc:
        raise _failure(exc, call, url) from exc
    return Answer(
        status_code=response.status_code,
        headers=_answer_headers(response),
        body=_decoded_body(raw, content_type),
        connect_sec=call.connect_sec,
        server_sec=time.monotonic() - started - call.connect_sec,
    )


def _prepared(method: str, url: str, headers: dict[str, str], body: bytes | None) -> requests.PreparedRequest:
    """Build the request by hand: `prepare()` would rewrite the path that was checked, and costs more than sending."""
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url, prepared.body = method, url, body
    prepared.headers = requests.structures.CaseInsensitiveDict(headers)
    prepared.headers["accept-encoding"] = "gzip"  # what "deflate" means is not agreed on
    prepared.headers.setdefault("accept", "application/json, */*;q=0.5")
    prepared.headers.setdefault("user-agent", "l11-hub")
    if body is not None or method in ("POST", "PUT", "PATCH"):
        prepared.headers["content-length"] = str(len(body or b""))
    prepared.hooks = default_hooks()
    return prepared


def _read(response: requests.Response, limit: int) -> bytes:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return _collect(response.raw.stream(READ_BYTES, decode_content=False), limit, ErrorCode.ANSWER_TOO_LARGE)
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise _malformed(f"unknown content encoding {encoding!r:.40}")
    return _collect(_inflated(response.raw.stream(READ_BYTES, decode_content=False)), limit, ErrorCode.ANSWER_EXPANDS_TOO_MUCH)


def _collect(pieces: Iterator[bytes], limit: int, too_large: ErrorCode) -> bytes:
    found = bytearray()
    for piece in pieces:
        found += piece
        if len(found) > limit:
            raise _too_large(limit, too_large)
    return bytes(found)


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress in bounded pieces, so that 300 kB that unfold to 300 MB never lie in memory.

    Nothing at all is what HEAD and 304 bring; several members, one behind the other, are one answer (RFC 1952).
    """
    inflater = None
    try:
        for piece in pieces:
            pending = piece
            while pending:
                if inflater is None or inflater.eof:
                    inflater = zlib.decompressobj(wbits=47)  # 32 + 15: gzip or zlib, by its header
                yield inflater.decompress(pending, READ_BYTES)
                pending = inflater.unconsumed_tail or inflater.unused_data
        if inflater is not None:
            yield inflater.flush(READ_BYTES)
    except zlib.error as exc:
        raise _malformed(f"broken compression: {exc}") from None
    if inflater is not None and not inflater.eof:
        raise _malformed("compressed data end too early")


def _decoded_body(raw: bytes, content_type: str) -> Any:
    if not raw:
        return None
    if is_json_type(content_type):
        return _from_json(raw)
    if content_type.lower().startswith("text/") or not content_type:
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        return text.replace("\x00", "\ufffd")
    return {BINARY_KEY: base64.b64encode(raw).decode()}


def _from_json(raw: bytes) -> Any:
    try:
        body = json.loads(raw)
        check_json(body, what="the answer", max_bytes=len(raw) * 6 + 64)
    except (ValueError, RecursionError) as exc:
        raise _malformed(f"announced as JSON, but {str(exc)[:120]}") from None
    except IntegrationError as exc:
        raise _malformed(exc.message) from None
    return body


def _answer_headers(response: requests.Response) -> dict[str, str]:
    return {name.lower(): storable(value) for name, value in response.headers.items() if name.lower() not in _HOP_HEADERS}


def _failure(exc: Exception, call: Call, url: str) -> RequestFailed:
    causes = list(_causes(exc))
    place = url.split("/", 3)[2]
    if call.cancelled:
        return RequestFailed(ErrorCode.REQUEST_CANCELLED, f"the call to {place} was cancelled", outcome=_outcome(call))
    if any(isinstance(cause, ExceedsLimit) for cause in causes):
        return _too_large(None)
    if any(_is_timeout(cause) for cause in causes) or call.is_over:
        code = _late(call)
        return RequestFailed(code, f"{place}: {code.text}", outcome=_outcome(call))
    if not call.sent and any(isinstance(cause, ssl.SSLError | ssl.CertificateError) for cause in causes):
        return RequestFailed(ErrorCode.TLS_FAILED, f"TLS with {place} failed: {causes[-1]}", outcome="nothing_sent")
    if any(_is_malformed(cause) for cause in causes):
        return _malformed(f"{type(causes[-1]).__name__}: {causes[-1]!s:.120}")
    code = ErrorCode.CONNECTION_BROKE_AFTER_SEND if call.sent else ErrorCode.CONNECT_FAILED
    return RequestFailed(code, f"{place}: {code.text} ({causes[-1]!s:.120})", outcome=_outcome(call))


def _late(call: Call) -> ErrorCode:
    if call.sent:
        return ErrorCode.TIMED_OUT_AFTER_SEND
    # Who accepted and then was silent to the handshake is as little there as who did not accept.
    return ErrorCode.CONNECT_FAILED if call.connect_sec else ErrorCode.TIMED_OUT_BEFORE_SEND


def _outcome(call: Call) -> Any:
    return "unknown" if call.sent else "nothing_sent"


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it wraps: `requests` and `urllib3` put the true cause into args or `reason`."""
    seen: BaseException | None = exc
    for _ in range(10):
        if seen is None:
            return
        yield seen
        inner = [arg for arg in (*seen.args, getattr(seen, "reason", None)) if isinstance(arg, BaseException)]
        seen = inner[0] if inner else seen.__cause__ or seen.__context__


def _is_timeout(exc: BaseException) -> bool:
    return isinstance(exc, TimeoutError | requests.Timeout)


def _is_malformed(exc: BaseException) -> bool:
    if isinstance(exc, InvalidChunkLength | InvalidHeader):
        return True
    if type(exc) is ProtocolError and len(exc.args) == 1:
        return True  # urllib3's own objection, not one that wraps a broken connection
    return isinstance(exc, http.client.HTTPException) and not isinstance(exc, http.client.RemoteDisconnected | http.client.IncompleteRead)


def _malformed(why: str) -> RequestFailed:
    return RequestFailed(ErrorCode.UPSTREAM_ANSWER_MALFORMED, f"the answer cannot be read: {why}", outcome="unknown")


def _too_large(limit: int | None, code: ErrorCode = ErrorCode.ANSWER_TOO_LARGE) -> RequestFailed:
    allowed = f" of {limit} bytes" if limit else ""
    return RequestFailed(code, f"{code.text}{allowed}; reading was stopped", outcome="unknown")
