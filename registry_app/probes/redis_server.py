"""The Redis probe: PING, spoken by hand, because a client library would retry and keep a pool for one line."""

from __future__ import annotations

from registry_app.checks import HealthCheck
from registry_app.deadline import hard_limit
from registry_app.probes.tcp import connect
from registry_app.rules import Finding, Verdict

MAX_LINE = 512


def probe(check: HealthCheck) -> Finding:
    """Send PING and judge the answer; a server that only asks for a password is alive."""
    with hard_limit(check.timeout_sec) as limit:
        try:
            answer = _ping(check)
        except OSError as exc:
            limit.has_passed |= isinstance(exc, TimeoutError)
            answer = b""
            failure = f"no answer: {exc.strerror or exc}"
        else:
            failure = "no answer"
        if limit.has_passed:
            return _bad(f"no answer within {check.timeout_sec:g} s")
        return _judge(answer.decode("ascii", "replace").strip()) if answer else _bad(failure)


def _ping(check: HealthCheck) -> bytes:
    with connect(check) as server:
        server.sendall(b"PING\r\n")
        answer = b""
        while not answer.endswith(b"\r\n") and len(answer) < MAX_LINE:
            part = server.recv(MAX_LINE)
            if not part:
                break
            answer += part
        return answer


def _judge(answer: str) -> Finding:
    if answer == "+PONG":
        return Finding(verdict=Verdict.GOOD, reason="PONG")
    if answer.startswith("-NOAUTH"):
        return Finding(verdict=Verdict.GOOD, reason="it answers, and asks for a password")
    if answer.startswith(("-LOADING", "-BUSY")):
        return Finding(verdict=Verdict.SLOW, reason=answer[1:100])
    return _bad(f"unexpected answer {answer[:60]!r}")


def _bad(reason: str) -> Finding:
    return Finding(verdict=Verdict.BAD, reason=reason)
