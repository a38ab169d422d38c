"""Rows of what was traced."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Span(models.Model):
    """One finished piece of work of one service; the spans of one trace id make up a trace."""

    class Kind(models.TextChoices):
        INTERNAL = "internal"
        SERVER = "server"
        CLIENT = "client"
        PRODUCER = "producer"
        CONSUMER = "consumer"

    class Status(models.TextChoices):
        UNSET = "unset"
        OK = "ok"
        ERROR = "error"

    trace_id = models.CharField(max_length=32)
    span_id = models.CharField(max_length=16)
    parent_span_id = models.CharField(max_length=16, blank=True)
    name = models.CharField(max_length=255)
    service = models.CharField(max_length=255, blank=True)
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.INTERNAL)
    start = models.DateTimeField()
    duration_us = models.BigIntegerField(help_text="microseconds")
    status = models.CharField(max_length=5, choices=Status.choices, default=Status.UNSET)
    status_message = models.TextField(blank=True)
    correlation_id = models.CharField(max_length=128, blank=True)
    kept = models.BooleanField(
        default=False, help_text="The trace is kept when others are thinned out: it failed, was slow or was rescued."
    )
    attributes = models.JSONField(default=dict)
    links = models.JSONField(default=list)
    events = models.JSONField(default=list)

    class Meta:
        constraints: ClassVar = [
            # Also serves "all spans of a trace", and makes a batch that is written twice harmless.
            models.UniqueConstraint(fields=["trace_id", "span_id"], name="span_of_trace"),
            models.CheckConstraint(condition=models.Q(status__in=["unset", "ok", "error"]), name="span_status_known"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["service", "start"], name="span_service_start"),  # a service's newest spans
            models.Index(fields=["start"], name="span_start"),  # pruning
            models.Index(fields=["-start"], name="span_failed", condition=models.Q(status="error")),  # what failed lately
            models.Index(fields=["correlation_id"], name="span_correlation", condition=~models.Q(correlation_id="")),  # search
            models.Index(fields=["trace_id"], name="span_kept", condition=models.Q(kept=True)),  # thinning out spares these
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.service})" if self.service else self.name


class CommittedCount(models.Model):
    """What was counted in one transaction with what it counts, until it is in the fleet's metrics; then it is deleted."""

    samples = models.JSONField()
    batch = models.CharField(max_length=32, blank=True, help_text="the process that moves it, if one has begun to")
    claimed_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["batch"], name="count_batch"),  # what nobody moves yet, and what one mover took
            models.Index(fields=["claimed_at"], name="count_claimed", condition=models.Q(claimed_at__isnull=False)),  # left by the dead
        ]

    def __str__(self) -> str:
        return f"counts {self.pk}"
