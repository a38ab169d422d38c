"""The HTTP probe: GET, and judge status and body. No redirects, no proxies, at most 64 KiB are read."""

from __future__ import annotations

import threading
import time

import requests
import urllib3
from django.conf import settings

from hub.errors import RequestFailed
from registry_app import wire
from registry_app.checks import HealthCheck
from registry_app.rules import Finding, Verdict

MAX_BODY_BYTES = 65_536
MAX_RECEIVED_BYTES = 1_048_576
"""A probe that gets more has met something that is no health page."""
_HEADERS = {"User-Agent": "integration-hub-probe", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
_of_thread = threading.local()


def probe(check: HealthCheck) -> Finding:
    """Ask the check endpoint once; ``check.timeout_sec`` is for everything together."""
    call = wire.Call(deadline=time.monotonic() + check.timeout_sec, max_received=MAX_RECEIVED_BYTES)
    try:
        with wire.working_for(call):
            finding = _ask(check)
    except RequestFailed as exc:
        finding = _bad(exc.message)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, wire.ExceedsLimit) as exc:
        finding = _bad(_cause_of(exc))
    # Looked at last: an answer that was cut off by the limit can still look like one.
    return _bad(f"no whole answer within {check.timeout_sec:g} s") if call.is_over else finding


def _ask(check: HealthCheck) -> Finding:
    session = _session()
    session.verify = settings.HUB.request_ca_file or True
    answer = session.get(check.endpoint, headers=_HEADERS, timeout=check.timeout_sec, allow_redirects=False, stream=True)
    with answer:
        said = f"HTTP {answer.status_code}"
        if not _is_expected(answer.status_code, check):
            return _bad(f"{said} (a redirect is not followed)" if answer.is_redirect else said)
        if check.body_contains and check.body_contains.encode() not in _beginning_of(answer):
            return _bad(f"{said}, but the answer does not contain {check.body_contains!r:.80}")
        return Finding(verdict=Verdict.GOOD, reason=said)


def _is_expected(status_code: int, check: HealthCheck) -> bool:
    return status_code in check.expected_status if check.expected_status else 200 <= status_code < 300


def _beginning_of(answer: requests.Response) -> bytes:
    body: bytes = answer.raw.read(MAX_BODY_BYTES)
    return body


def _session() -> requests.Session:
    """One session for each thread: building it costs more than a probe, and sessions are not thread-safe."""
    session: requests.Session | None = getattr(_of_thread, "session", None)
    if session is None:
        session = _of_thread.session = wire.new_session()
    return session


def _cause_of(exc: BaseException) -> str:
    """Return the innermost reason: the outer ones only repeat it, in the words of the libraries."""
    inner: BaseException | None = exc
    while inner is not None:
        exc = inner
        inner = next((one for one in (getattr(exc, "reason", None), *exc.args) if isinstance(one, BaseException)), None)
    return (str(exc).rpartition("): ")[2] or type(exc).__name__)[:200]


def _bad(reason: str) -> Finding:
    return Finding(verdict=Verdict.BAD, reason=reason)
