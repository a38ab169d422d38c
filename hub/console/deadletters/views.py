"""Dead letters by cause, the page of a cause, and the page of one letter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from hub.console import audit, pages
from hub.console.acting import shape
from hub.console.deadletters.actions import CAUSE, LETTER
from hub.events import deadletters
from hub.events.models import DeadLetter, ReplayRun
from hub.telemetry.redaction import Redactor
from hub.telemetry.secrets import known_secrets
from hub.telemetry.text import as_json

MAX_LETTERS = 50
MAX_RUNS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A letter as a list shows it; the error is redacted."""

    letter: DeadLetter
    error: str


@require_safe
def causes(request: HttpRequest) -> HttpResponse:
    """List the causes of which open letters died, the most deadly first."""
    pages.check_may(request, CAUSE.view_permission)
    redactor = Redactor(known_secrets())
    found = [(group, redactor.text(group.error)[:300]) for group in deadletters.groups()]
    return pages.render(request, "console/causes.html", title="Dead letters by cause", groups=found)


@require_safe
def cause(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Show a cause: what it is, whom it hit, and how its replays went."""
    newest = pages.found(request, CAUSE, fingerprint)
    redactor = Redactor(known_secrets())
    letters = DeadLetter.objects.filter(fingerprint=fingerprint, status=DeadLetter.Status.OPEN).select_related("event", "subscription")
    return pages.render(
        request,
        "console/cause.html",
        title=f"Cause {fingerprint[:8]}",
        newest=newest,
        died_of=redactor.text(newest.error),
        count=_bounded(letters),
        lines=[Line(letter=letter, error=redactor.text(letter.error)[:200]) for letter in letters.order_by("-last_at")[:MAX_LETTERS]],
        runs=list(ReplayRun.objects.filter(fingerprint=fingerprint).order_by("-id")[:MAX_RUNS]),
        offers=shape.offers(CAUSE, newest, request.user.has_perm),
        actions=audit.of("cause", fingerprint),
    )


def show(request: HttpRequest, letter_id: str) -> HttpResponse:
    """Show a letter: its error, each attempt, its payload, and what can be done."""
    letter = pages.found(request, LETTER, letter_id)
    redactor = Redactor(known_secrets())
    return pages.render(
        request,
        "console/deadletter.html",
        title=f"Dead letter {letter.pk}",
        letter=letter,
        died_of=redactor.text(letter.error),
        payload=as_json(letter.delivery.event.body.get("data"), redactor),
        attempts=[_attempt(one, redactor) for one in letter.delivery.history[-50:]],
        offers=shape.offers(LETTER, letter, request.user.has_perm),
        actions=audit.of("dead-letter", LETTER.id_of(letter)),
    )


def _attempt(one: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    return {**one, "error": redactor.text(str(one.get("error", "")))[:2_000]}


def _bounded(letters: Any) -> int:
    return int(letters.order_by()[:1_000].count())
