"""The page of a saga, and the dry run of a cancel."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from hub.console import pages
from hub.console.acting import shape
from hub.console.saga import page
from hub.console.saga.actions import SAGA
from sagas import services


def show(request: HttpRequest, execution_id: str) -> HttpResponse:
    """Show a saga: what happened, since when, and what can be done."""
    loaded = pages.found(request, SAGA, execution_id)
    offers = shape.offers(SAGA, loaded, request.user.has_perm)
    shown = page.build(loaded)
    return pages.render(request, "console/saga.html", title=str(loaded.row), page=shown, story=shown.story, offers=offers)


@require_safe
def plan(request: HttpRequest, execution_id: UUID) -> HttpResponse:
    """Say what turning back now would do, without doing it."""
    loaded = pages.found(request, SAGA, str(execution_id))
    undos = services.undo_plan(str(execution_id))
    count = ngettext("%d undo would be made", "%d undos would be made", len(undos)) % len(undos)
    return pages.render(
        request,
        "console/saga_plan.html",
        title=f"What would {page.turning_back(loaded.run.status) or 'cancel'} do? {loaded.row}",
        row=loaded.row,
        undos=undos,
        count=count,
    )
