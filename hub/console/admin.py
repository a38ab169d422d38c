"""The console's screens in the admin, and the record of what operators did."""

from __future__ import annotations

from django.contrib import admin
from unfold.decorators import display

from hub.console.bulk.admin import BatchOperationAdmin
from hub.console.deadletters.admin import DeadLetterAdmin
from hub.console.models import BatchOperation, OperatorAction
from hub.console.saga.admin import SagaExecutionAdmin
from hub.console.services.admin import ServiceAdmin
from hub.events.models import DeadLetter
from hub.history_admin import HistoryAdmin
from registry_app.models import Service
from sagas.models import SagaExecution

admin.site.register(BatchOperation, BatchOperationAdmin)
admin.site.register(Service, ServiceAdmin)
admin.site.register(DeadLetter, DeadLetterAdmin)
admin.site.register(SagaExecution, SagaExecutionAdmin)

_COLOURS = {"done": "success", "refused": "danger", "asked": "warning"}


@admin.register(OperatorAction)
class OperatorActionAdmin(HistoryAdmin):
    """Who did what, why, and how it stood before and after."""

    list_display = ("at", "by", "action", "subject", "subject_id", "reason", "coloured_outcome", "code")
    search_fields = ("subject_id__exact", "by__exact")
    search_help_text = "id of the thing, or user name, in full"
    ordering = ("-at",)

    @display(description="outcome", label=_COLOURS)
    def coloured_outcome(self, row: OperatorAction) -> str:
        """Return what came of it."""
        return row.outcome
