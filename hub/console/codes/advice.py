"""What an error code means and what to do about it, in words (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from hub.error_codes import ErrorCode

AREAS = {
    "E110": "Service registry and discovery",
    "E111": "Event bus",
    "E112": "Circuit breaker",
    "E113": "Request orchestration",
    "E114": "Saga orchestration",
    "E115": "Observability",
    "E118": "Health checking",
    "E119": "Generic",
}
_RETRY = {
    "never": "The same call fails the same way: change what the code complains about, then call again.",
    "same_key": "Call again with the same idempotency key: it is not known whether the first call acted, and the key makes it act once.",
    "later": "Call again after a while, with growing pauses. The cause lies outside of the call.",
    "human": "Nothing puts this right by itself: an operator has to look and decide.",
}
_KINDS = (
    (0, 1, "the area's general error"),
    (1, 20, "bad input"),
    (20, 40, "a state that does not allow it, or something that is not there"),
    (40, 60, "something that the hub depends on"),
    (60, 80, "a limit"),
    (80, 90, "refused by policy"),
    (90, 100, "the hub's own invariant is broken"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """A code in words."""

    code: str
    name: str
    area: str
    kind: str
    means: str
    todo: str
    http: int


def on(code: ErrorCode) -> Advice:
    """Return what a person wants to know of a code."""
    number = int(str(code)[-2:])
    kind = next(words for low, high, words in _KINDS if low <= number < high)
    return Advice(
        code=str(code),
        name=code.name.replace("_", " ").lower(),
        area=AREAS.get(str(code)[:4], "Integration hub"),
        kind=kind,
        means=code.text,
        todo=_RETRY[code.retry],
        http=code.http,
    )


def everything(search: str = "") -> list[Advice]:
    """Return all codes by number, or those in whose number or text a word occurs."""
    wanted = search.strip().lower()
    found = [on(code) for code in ErrorCode]
    return [one for one in found if not wanted or wanted in f"{one.code} {one.name} {one.means} {one.area}".lower()]
