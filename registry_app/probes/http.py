"""The HTTP probe: GET, and judge status and body. No redirects, no proxies, at most 64 KiB are read."""

from __future__ import annotations

import threading

import requests
import urllib3
from django.conf import settings

from registry_app import outbound
from registry_app.checks import HealthCheck
from registry_app.deadline import hard_limit
from registry_app.rules import Finding, Verdict

MAX_BODY_BYTES = 65_536
_HEADERS = {"User-Agent": "integration-hub-probe", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
_of_thread = threading.local()


def probe(check: HealthCheck) -> Finding:
    """Ask the check endpoint once; ``check.timeout_sec`` is for everything together."""
    with hard_limit(check.timeout_sec) as limit:
        try:
            finding = _ask(check)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
            finding = _bad(_cause_of(exc))
            limit.has_passed |= isinstance(exc, requests.Timeout)
        # Looked at last: an answer that was cut off by the limit can still look like one.
        return _bad(f"no whole answer within {check.timeout_sec:g} s") if limit.has_passed else finding


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
        session = _of_thread.session = outbound.new_session()
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
