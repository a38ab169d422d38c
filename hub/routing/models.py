"""The history of routed requests."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone


class RoutedRequest(models.Model):
    """One routed request, written when it ended; neither bodies, headers nor queries are kept."""

    class Outcome(models.TextChoices):
        """How it ended, seen from the caller."""

        OK = "ok", "good answer"
        ANSWERED = "answered", "refused or failed by the service"
        NOTHING_SENT = "nothing_sent", "nothing was sent"
        UNKNOWN = "unknown", "sent, outcome unknown"

    service_name = models.CharField(max_length=64)
    service_id = models.CharField("instance", max_length=64, blank=True)
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=512)
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    code = models.CharField("error code", max_length=8, blank=True)
    outcome = models.CharField(max_length=16, choices=Outcome.choices)
    attempts = models.PositiveSmallIntegerField(default=0)
    duration_ms = models.FloatField()
    trace_id = models.CharField(max_length=32)
    correlation_id = models.CharField(max_length=128)
    idempotency_key = models.CharField(max_length=128, blank=True)
    decision = models.JSONField(default=dict)
    created_at = models.DateTimeField("ended at", default=timezone.now)

    class Meta:
        verbose_name = "request"
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            # retention, and the page of the last hour
            models.Index(fields=["created_at"], name="request_created"),
            # "what did this service answer lately?"
            models.Index(fields=["service_name", "-id"], name="request_service"),
            # from a trace, a saga step or a caller's own id to its requests
            models.Index(fields=["trace_id"], name="request_trace"),
            models.Index(fields=["correlation_id"], name="request_correlation"),
            # the list of what went wrong
            models.Index(fields=["outcome", "-id"], name="request_outcome"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(outcome__in=["ok", "answered", "nothing_sent", "unknown"]), name="request_outcome_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.service_name}{self.path}"
