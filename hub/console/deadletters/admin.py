"""Dead letters in the admin: the list, and one page for each."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin
from unfold.decorators import display

from hub.console.bulk.admin import ActsOnMany
from hub.console.deadletters import views
from hub.console.reading import PageOfItsOwn
from hub.events.models import DeadLetter
from hub.history_admin import LargeTable, SearchByIndex
from hub.telemetry.redaction import Redactor
from hub.telemetry.secrets import known_secrets

COLOURS = {"open": "danger", "replayed": "info", "resolved": "success", "discarded": ""}


class DeadLetterAdmin(SearchByIndex, ActsOnMany, LargeTable, PageOfItsOwn, ModelAdmin):
    """What could not be delivered, the newest first."""

    bulk_subject = "dead-letter"
    list_display = ("last_at", "subscription", "topic", "coloured_status", "error_code", "short_error", "hint", "deaths", "fingerprint")
    list_filter = ("status", "subscription")
    list_select_related = ("subscription", "event")
    list_before_template = "console/deadletters_by_cause.html"
    search_fields = ("fingerprint__exact", "event__event_id__exact")
    search_help_text = "fingerprint or event id, in full"
    ordering = ("-last_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        """Look the secrets up once for the page, not once for each row."""
        self._redactor = Redactor(known_secrets())
        found: QuerySet[DeadLetter] = super().get_queryset(request)
        return found

    def show(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the letter's own page."""
        return views.show(request, object_id)

    @display(description="status", label=COLOURS)
    def coloured_status(self, row: DeadLetter) -> tuple[str, str]:
        """Return the status for its colour, and in words."""
        return row.status, row.get_status_display()

    @display(description="topic")
    def topic(self, row: DeadLetter) -> str:
        """Return the event's topic."""
        return row.event.topic

    @display(description="error")
    def short_error(self, row: DeadLetter) -> str:
        """Return the beginning of the error."""
        return self._redactor.text(row.error)[:120]
