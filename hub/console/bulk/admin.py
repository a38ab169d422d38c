"""Operations on many things in the admin: how one is drawn up from a list, and their own list and page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import ModelAdmin
from unfold.decorators import display

from hub.console.bulk import choices, operations, views
from hub.console.bulk.actions import BATCH
from hub.console.bulk.choices import Choice
from hub.console.reading import PageOfItsOwn
from hub.history_admin import LargeTable

COLOURS = {"draft": "", "running": "info", "paused": "warning", "stopped": "danger", "done": "success"}


class ActsOnMany:
    """A list from which rows are chosen for an operation; choosing acts on nothing yet."""

    bulk_subject = ""

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Offer what this person may do to each, and to many."""
        may = request.user.has_perm
        found = [one for one in choices.of(self.bulk_subject) if may("console.start_batch") and may(f"console.{one.action.permission}")]
        return {one.action.name: (_drawing_up(one), one.action.name, f"{one.action.label}: see the list first") for one in found}


def _drawing_up(choice: Choice) -> Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponse]:
    def draw_up(model_admin: Any, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse:
        chosen = [(str(row.pk), str(row), row.status) for row in rows[: operations.MAX_ITEMS + 1]]
        operation = operations.draw_up(choice, chosen, by=request.user.get_username())
        return HttpResponseRedirect(BATCH.page(str(operation.pk)))

    return draw_up


class BatchOperationAdmin(LargeTable, PageOfItsOwn, ModelAdmin):
    """Operations on many things, the newest first."""

    list_display = ("created_at", "what", "coloured_status", "total", "by", "reason", "finished_at")
    list_filter = ("status",)
    ordering = ("-created_at",)

    def show(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the operation's own page."""
        return views.show(request, object_id)

    @display(description="what")
    def what(self, row: Any) -> str:
        """Return the action and what it is done to."""
        return f"{row.action} of {row.subject}s"

    @display(description="status", label=COLOURS)
    def coloured_status(self, row: Any) -> str:
        """Return how far it is."""
        return row.status
