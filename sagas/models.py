"""The record: runs, their steps and every move they made. The rows are the truth; messages only make them move sooner."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from hub.telemetry.fields import SealedJSONField
from sagas.states import Cause, SagaStatus, StepStatus

_SAGA_STATUSES = [(status.value, status.value.replace("_", " ")) for status in SagaStatus]
_STEP_STATUSES = [(status.value, status.value.replace("_", " ")) for status in StepStatus]
_CAUSES = [(cause.value, cause.value.replace("_", " ")) for cause in Cause]


class SagaVersion(models.Model):
    """A definition as some run was started with: never changed, kept as long as a run points to it (S21)."""

    saga_name = models.CharField(max_length=100)
    version = models.CharField(max_length=64)
    hash = models.CharField(max_length=16)
    snapshot = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["saga_name", "version"], name="saga_version_unique")]

    def __str__(self) -> str:
        return f"{self.saga_name} {self.version}"


class SagaExecution(models.Model):
    """One run of a saga."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    definition = models.ForeignKey(SagaVersion, on_delete=models.PROTECT, related_name="executions")
    saga_name = models.CharField(max_length=100)
    status = models.CharField(max_length=16, choices=_SAGA_STATUSES, default=SagaStatus.PENDING.value)
    cause = models.CharField(max_length=16, choices=_CAUSES, blank=True)
    error = models.JSONField(null=True)
    input = SealedJSONField(default=dict)
    context = SealedJSONField(default=dict)
    revision = models.PositiveIntegerField(default=0)
    """Grows at each change; every write names the revision it was decided on (S15)."""
    started_count = models.PositiveSmallIntegerField(default=0)
    hints = models.PositiveSmallIntegerField(default=0)
    blocked_at = models.DateTimeField(null=True)
    blocked_reason = models.CharField(max_length=300, blank=True)
    owner_until = models.DateTimeField(null=True)
    signals = SealedJSONField(default=dict)
    lock_names = models.JSONField(default=list)
    """The entities this run works on alone; `SagaLock` holds those it has."""
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="children", db_index=False)
    parent_step = models.PositiveSmallIntegerField(null=True)
    depth = models.PositiveSmallIntegerField(default=0)
    rerun_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="reruns", db_index=False)
    deadline_at = models.DateTimeField()
    next_wake_at = models.DateTimeField(null=True)
    idempotency_key = models.CharField(max_length=128, null=True)  # noqa: DJ001  (null: no key; unique among the given ones)
    request_hash = models.CharField(max_length=64, blank=True)
    traceparent = models.CharField(max_length=55, blank=True)
    trace_id = models.CharField(max_length=32, blank=True)
    correlation_id = models.CharField(max_length=128, blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "saga"
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=[s.value for s in SagaStatus]), name="saga_status_known"),
            models.UniqueConstraint(fields=["saga_name", "idempotency_key"], name="saga_key_unique"),
        ]
        indexes = [
            # the sweeper: runs that somebody must look at. Not "status in": SQLite would not see that the query implies it.
            models.Index(fields=["next_wake_at"], name="saga_wake", condition=Q(next_wake_at__isnull=False)),
            # lists by status and by name, newest first
            models.Index(fields=["status", "-created_at"], name="saga_by_status"),
            models.Index(fields=["saga_name", "-created_at"], name="saga_by_name"),
            models.Index(fields=["-created_at"], name="saga_newest"),
            # search by what the caller knows
            models.Index(fields=["correlation_id"], name="saga_by_correlation"),
            models.Index(fields=["trace_id"], name="saga_by_trace"),
            # what waits for an undo slot or a lock, longest first
            models.Index(fields=["blocked_at"], name="saga_blocked", condition=Q(blocked_at__isnull=False)),
            # the family of a run, oldest first; hardly any run has one, so an index of all would tell the planner nothing
            models.Index(fields=["parent", "created_at"], name="saga_children", condition=Q(parent__isnull=False)),
            models.Index(fields=["rerun_of", "created_at"], name="saga_reruns", condition=Q(rerun_of__isnull=False)),
            # pruning
            models.Index(fields=["finished_at"], name="saga_finished", condition=Q(finished_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.saga_name} {str(self.id)[:8]}"


class SagaStepExecution(models.Model):
    """One step of a run."""

    execution = models.ForeignKey(SagaExecution, on_delete=models.CASCADE, related_name="steps")
    index = models.PositiveSmallIntegerField()
    step_id = models.CharField(max_length=64)
    step_name = models.CharField(max_length=200)
    status = models.CharField(max_length=20, choices=_STEP_STATUSES, default=StepStatus.PENDING.value)
    epoch = models.PositiveIntegerField(default=0)
    attempts = models.PositiveSmallIntegerField(default=0)
    undo_attempts = models.PositiveSmallIntegerField(default=0)
    losses = models.PositiveSmallIntegerField(default=0)
    started_seq = models.PositiveSmallIntegerField(null=True)
    may_have_happened = models.BooleanField(default=False)
    lease_until = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    waiting_for = models.CharField(max_length=200, blank=True)
    verify_only = models.BooleanField(default=False)
    honours = models.CharField(max_length=20, blank=True)
    task_id = models.CharField(max_length=64, blank=True)
    served_by = models.CharField(max_length=64, blank=True)
    output = SealedJSONField(null=True)
    error = models.JSONField(null=True)
    undo_error = models.JSONField(null=True)

    class Meta:
        verbose_name = "saga step"
        ordering = ["index"]
        constraints = [
            models.UniqueConstraint(fields=["execution", "index"], name="saga_step_unique"),
            models.CheckConstraint(condition=Q(status__in=[s.value for s in StepStatus]), name="saga_step_status_known"),
        ]
        indexes = [
            # an event on the bus: the steps that wait for its topic
            models.Index(fields=["waiting_for"], name="saga_step_waiting", condition=~Q(waiting_for="")),
        ]

    def __str__(self) -> str:
        return f"{self.step_id} ({self.status})"


class SagaTransition(models.Model):
    """One move of a run (`step_id` empty) or of a step, in the order of the commits; late replies are kept here too."""

    execution = models.ForeignKey(SagaExecution, on_delete=models.CASCADE, related_name="transitions", db_index=False)
    at = models.DateTimeField()
    step_id = models.CharField(max_length=64, blank=True)
    old = models.CharField(max_length=20)
    new = models.CharField(max_length=20)
    reason = models.CharField(max_length=500, blank=True)
    actor = models.CharField(max_length=150, blank=True)
    """Which worker process, or which person, made the move."""

    class Meta:
        verbose_name = "saga transition"
        ordering = ["id"]
        indexes = [models.Index(fields=["execution", "id"], name="saga_history")]

    def __str__(self) -> str:
        return f"{self.step_id or 'saga'}: {self.old} -> {self.new}"


class SagaLock(models.Model):
    """An entity that one run works on alone (S24). The row ends with the run."""

    name = models.CharField(max_length=200, primary_key=True)
    execution = models.ForeignKey(SagaExecution, on_delete=models.CASCADE, related_name="locks")
    acquired_at = models.DateTimeField()

    class Meta:
        verbose_name = "saga lock"

    def __str__(self) -> str:
        return self.name


class UndoSlot(models.Model):
    """One of the few undos that may run at once against a target: the brake on a storm of compensations."""

    target = models.CharField(max_length=200)
    number = models.PositiveSmallIntegerField()
    execution = models.ForeignKey(SagaExecution, on_delete=models.CASCADE, related_name="undo_slots")
    step_index = models.PositiveSmallIntegerField()
    lease_until = models.DateTimeField()

    class Meta:
        verbose_name = "undo slot"
        constraints = [models.UniqueConstraint(fields=["target", "number"], name="saga_undo_slot_unique")]

    def __str__(self) -> str:
        return f"{self.target} {self.number}"
