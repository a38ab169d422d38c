"""The page of a saga, its dry run, and its actions: reading is GET, acting is POST, and nothing acts on GET."""

from __future__ import annotations

from uuid import UUID, uuid4

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from hub.console.models import OperatorAction
from hub.console.saga import actions, page
from hub.errors import ErrorCode, IntegrationError
from sagas import services, store
from sagas.store import Loaded

_VIEW = "sagas.view_sagaexecution"


def show(request: HttpRequest, execution_id: str) -> HttpResponse:
    """Show a saga: what happened, since when, and what can be done."""
    loaded = _load(request, execution_id)
    offers = [(action, choices, uuid4()) for action, choices in actions.offered(loaded, may=request.user.has_perm)]
    shown = page.build(loaded)
    context = {"title": str(loaded.row), "page": shown, "story": shown.story, "offers": offers}
    return TemplateResponse(request, "console/saga.html", {**admin.site.each_context(request), **context})


@require_safe
def plan(request: HttpRequest, execution_id: UUID) -> HttpResponse:
    """Say what cancelling now would do, without doing it."""
    loaded = _load(request, str(execution_id))
    undos = services.undo_plan(str(execution_id))
    count = ngettext("%d undo would be made", "%d undos would be made", len(undos)) % len(undos)
    context = {"title": f"What would cancel do? {loaded.row}", "row": loaded.row, "undos": undos, "count": count}
    return TemplateResponse(request, "console/saga_plan.html", {**admin.site.each_context(request), **context})


@require_POST
def act(request: HttpRequest, execution_id: UUID, name: str) -> HttpResponse:
    """Do one action, once for each form shown, and go back to the saga with what came of it."""
    action = actions.ACTIONS.get(name)
    if action is None:
        raise Http404(name)
    loaded = _load(request, str(execution_id))
    if not request.user.has_perm(f"console.{action.permission}"):
        raise PermissionDenied(action.permission)
    try:
        done = actions.do(action, _given(request, str(execution_id)), token=_token(request))
    except IntegrationError as exc:
        messages.error(request, str(exc))
    else:
        _say(request, done)
    return HttpResponseRedirect(reverse("admin:sagas_sagaexecution_change", args=[loaded.row.pk]))


def _load(request: HttpRequest, execution_id: str) -> Loaded:
    if not request.user.has_perm(_VIEW):
        raise PermissionDenied(_VIEW)
    try:
        return store.load(services.identifier(execution_id))
    except IntegrationError as exc:
        raise Http404(str(exc)) from exc


def _given(request: HttpRequest, execution_id: str) -> actions.Given:
    sent = {name: request.POST.get(name, "") for name in ("reason", "choice", "changes")}
    return actions.Given(execution_id=execution_id, by=request.user.get_username(), **sent)


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
