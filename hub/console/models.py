"""What operators did: one row for each thing that somebody asked for, never changed and never deleted by hand."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models


class OperatorAction(models.Model):
    """Who did what to which thing, why, and how it stood before and after."""

    class Outcome(models.TextChoices):
        """What came of it; `asked` stays where the process ended before it could say."""

        ASKED = "asked"
        DONE = "done"
        REFUSED = "refused"

    token = models.UUIDField(unique=True, help_text="One for each form shown: sent twice, it acts once.")
    at = models.DateTimeField(auto_now_add=True)
    by = models.CharField(max_length=150)
    action = models.CharField(max_length=40)
    subject = models.CharField(max_length=20)
    subject_id = models.CharField(max_length=255)
    reason = models.CharField(max_length=500)
    before = models.JSONField(default=dict)
    after = models.JSONField(null=True)
    outcome = models.CharField(max_length=8, choices=Outcome.choices, default=Outcome.ASKED)
    code = models.CharField(max_length=6, blank=True)
    message = models.CharField(max_length=1000, blank=True)

    class Meta:
        verbose_name = "operator action"
        ordering: ClassVar = ["-at", "-id"]
        permissions: ClassVar = [
            ("view_queues", "Can see queues and workers"),
            ("retry_saga", "Can retry a saga from the step that failed"),
            ("retry_saga_undo", "Can retry the failed undos of a saga"),
            ("skip_saga_step", "Can skip a step, or an undo, that was dealt with by hand"),
            ("compensate_saga", "Can undo a failed saga now"),
            ("cancel_saga", "Can cancel a running saga"),
            ("resolve_saga", "Can mark a saga as put right by hand"),
            ("rerun_saga", "Can run an ended saga again from a step"),
            ("signal_saga", "Can give a saga the signal that it waits for"),
            ("probe_service", "Can probe a service instance out of turn"),
            ("begin_maintenance", "Can take a service instance out of routing for a while"),
            ("end_maintenance", "Can put a service instance back into routing"),
            ("deregister_service", "Can take a service instance out of the registry"),
            ("force_circuit_open", "Can make a breaker refuse all calls for a while"),
            ("force_circuit_closed", "Can make a breaker let all calls through for a while"),
            ("meter_circuit", "Can make a breaker only record for a while"),
            ("reset_circuit", "Can reset a breaker"),
            ("set_circuit_thresholds", "Can set the thresholds of a breaker"),
            ("replay_deadletter", "Can replay a dead letter"),
            ("edit_deadletter", "Can correct a dead letter and replay it"),
            ("discard_deadletter", "Can discard a dead letter"),
            ("replay_cause", "Can replay all dead letters of a cause"),
            ("try_cause", "Can replay one dead letter of a cause"),
            ("stop_cause", "Can stop the replay of a cause"),
            ("pause_subscription", "Can pause a subscription or a route"),
            ("resume_subscription", "Can resume a subscription or a route"),
            ("purge_queue", "Can throw away what waits in a queue"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["subject", "subject_id", "-at"], name="action_of_subject"),  # what was done to one thing
            models.Index(fields=["-at"], name="action_newest"),  # the list, and pruning
            models.Index(fields=["by", "-at"], name="action_by"),  # what one person did
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(outcome__in=["asked", "done", "refused"]), name="action_outcome_known"),
            models.CheckConstraint(condition=~models.Q(reason=""), name="action_has_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.subject} {self.subject_id} by {self.by}"


class BatchOperation(models.Model):
    """One action on many things: the list is frozen when it is made, before anybody says yes."""

    class Status(models.TextChoices):
        """How far it is; a draft has done nothing."""

        DRAFT = "draft"
        RUNNING = "running"
        PAUSED = "paused"
        STOPPED = "stopped"
        DONE = "done"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    subject = models.CharField(max_length=20)
    action = models.CharField(max_length=40)
    by = models.CharField(max_length=150)
    reason = models.CharField(max_length=500, blank=True)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.DRAFT)
    total = models.PositiveIntegerField(help_text="things that were chosen and could be acted on")
    was_cut = models.BooleanField(default=False, help_text="more were chosen than one operation takes")
    lease_until = models.DateTimeField(null=True, blank=True, help_text="a worker is at it until then")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "batch operation"
        ordering: ClassVar = ["-created_at"]
        permissions: ClassVar = [
            ("start_batch", "Can start an action on many things"),
            ("pause_batch", "Can pause an action on many things"),
            ("resume_batch", "Can resume an action on many things"),
            ("stop_batch", "Can stop an action on many things"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["-created_at"], name="batch_newest"),  # the list, and pruning
            models.Index(fields=["id"], name="batch_running", condition=models.Q(status="running")),  # the sweeper
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(status__in=["draft", "running", "paused", "stopped", "done"]), name="batch_status_known"
            ),
            models.CheckConstraint(condition=models.Q(status="draft") | ~models.Q(reason=""), name="batch_has_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.total} {self.subject}"


class BatchItem(models.Model):
    """One thing of an operation, and what became of it. Its `token` makes it act once, however often a worker dies."""

    class Status(models.TextChoices):
        """What became of it."""

        WAITING = "waiting"
        DONE = "done"
        REFUSED = "refused"
        INELIGIBLE = "ineligible", "could not be acted on when it was chosen"
        LEFT = "left", "left alone: the operation was stopped"

    operation = models.ForeignKey(BatchOperation, models.CASCADE, related_name="items", db_index=False)
    position = models.PositiveIntegerField()
    subject_id = models.CharField(max_length=255)
    name = models.CharField(max_length=200)
    token = models.UUIDField(default=uuid.uuid4)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.WAITING)
    code = models.CharField(max_length=6, blank=True)
    message = models.CharField(max_length=1000, blank=True)
    at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            # Also the list of an operation's items, in order.
            models.UniqueConstraint(fields=["operation", "position"], name="batch_item_once"),
            models.CheckConstraint(
                condition=models.Q(status__in=["waiting", "done", "refused", "ineligible", "left"]), name="batch_item_status_known"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["operation", "status", "position"], name="batch_item_status"),  # the next ones, and counts
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.status}"
