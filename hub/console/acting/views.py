"""The one address at which operators act: by POST, once for each form shown, and back to the thing with what came of it."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_http_methods

from hub.console import audit, pages
from hub.console.acting import shape
from hub.console.acting.shape import Action, Given
from hub.console.acting.subjects import SUBJECTS
from hub.console.models import OperatorAction
from hub.errors import ErrorCode, IntegrationError


@require_http_methods(["GET", "HEAD", "POST"])
def act(request: HttpRequest, subject: str, subject_id: str, name: str) -> HttpResponse:
    """Do one action to one thing."""
    kind = SUBJECTS.get(subject)
    action = kind.action(name) if kind else None
    if kind is None or action is None:
        raise Http404(f"{subject} {name}")
    thing = pages.found(request, kind, subject_id)
    thing_id = kind.id_of(thing)
    if not kind.may(action, thing, request.user.has_perm):
        raise PermissionDenied(action.permission)
    if request.method != "POST":
        # Whoever was logged out when they sent the form is led here once they have logged in: their form is lost.
        messages.warning(request, f"{action.label} was not done: you were logged out when you sent it. Send the form again.")
        return HttpResponseRedirect(kind.page(thing_id))
    try:
        token = _token(request)
        # A form that was sent before is answered with what came of it: the thing may not offer its choices any more.
        done = audit.sent(token) or shape.do(kind, action, _given(request, action, thing, thing_id), token=token)
    except IntegrationError as exc:
        messages.error(request, str(exc))
    else:
        _say(request, done)
    return HttpResponseRedirect(kind.page(thing_id))


def _given(request: HttpRequest, action: Action, thing: object, thing_id: str) -> Given:
    values = shape.read(action.fields(thing), request.POST.dict())
    return Given(subject_id=thing_id, reason=request.POST.get("reason", ""), by=request.user.get_username(), values=values)


def _token(request: HttpRequest) -> UUID:
    try:
        return UUID(request.POST.get("token", ""))
    except ValueError:
        raise IntegrationError(ErrorCode.ARGUMENT_MISSING, "the form has no token", recovery_suggestion="load the page again") from None


def _say(request: HttpRequest, done: OperatorAction) -> None:
    if done.outcome == OperatorAction.Outcome.REFUSED:
        messages.error(request, f"{done.action} was refused. {done.message}")
    elif done.outcome == OperatorAction.Outcome.ASKED:
        messages.warning(request, f"{done.action} was sent before and has not ended yet.")
    else:
        messages.success(request, f"{done.action}: {done.message}")
