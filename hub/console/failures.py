"""What a person reads when a page cannot be shown; made without the database and without Redis, which may be why."""

from __future__ import annotations

import logging
import sys

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.defaults import bad_request

from hub.console.codes import advice
from hub.errors import ErrorCode, IntegrationError
from hub.outages import outage
from hub.telemetry import problems

log = logging.getLogger(__name__)


def page_failed(request: HttpRequest) -> HttpResponse:
    """Answer for a view that raised: 503 with the code of what is away, else 500 with E11900; the log has the traceback."""
    exc = sys.exc_info()[1]
    log.error("page %s failed", request.path, exc_info=exc)
    told = exc if isinstance(exc, IntegrationError) else outage(exc) if exc else None
    told = told or IntegrationError(ErrorCode.INTERNAL_ERROR, "this page has a fault, which is in the log")
    return _page("500.html", told)


def page_refused(told: IntegrationError) -> HttpResponse:
    """Answer what no page can make anything of, with the status of its code; nothing failed, so nothing is logged."""
    return _page("refused.html", told)


def request_refused(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django refuses before any view sees it: a host that is none of ours is told so (E11985)."""
    if isinstance(exception, DisallowedHost):
        return page_refused(problems.host_refused())
    return bad_request(request, exception)


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form without the token of this browser's log-in (E11984); the log of Django has the reason."""
    todo = (
        "nothing was done: go back, load the page again and send the form once more; a log-in in another tab makes older forms void. "
        "If none is ever taken, HUB_CSRF_TRUSTED_ORIGINS lacks the address in your browser"
    )
    return page_refused(IntegrationError(ErrorCode.CSRF_FAILED, recovery_suggestion=todo))


def _page(template: str, told: IntegrationError) -> HttpResponse:
    context = {"error": told, "todo": told.recovery_suggestion or advice.on(told.code).todo, "at": timezone.now()}
    return HttpResponse(render_to_string(template, context), status=told.code.http)
