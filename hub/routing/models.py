"""The history of routed requests, and the answers kept for those with an idempotency key."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from hub.telemetry.fields import SealedJSONField


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


class KeptAnswer(models.Model):
    """What became of a request with an idempotency key; the answer holds what the service said, so it is shown nowhere."""

    class Status(models.TextChoices):
        """How far it is."""

        CLAIMED = "claimed", "under way"
        ANSWERED = "answered", "answered"
        FAILED = "failed", "failed, may be sent again"

    service_name = models.CharField(max_length=64)
    key = models.CharField(max_length=128)
    fingerprint = models.CharField(max_length=64)
    status = models.CharField(max_length=16, choices=Status.choices)
    lease_until = models.DateTimeField(null=True, blank=True)
    answer = SealedJSONField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "kept answer"
        indexes: ClassVar = [
            # retention
            models.Index(fields=["created_at"], name="answer_created"),
            # "what became of the request under this key?", asked by who knows nothing but the key
            models.Index(fields=["key"], name="answer_by_key"),
        ]
        constraints: ClassVar = [
            # also the index by which a key is found
            models.UniqueConstraint(fields=["service_name", "key"], name="answer_key_once"),
            models.CheckConstraint(condition=models.Q(status__in=["claimed", "answered", "failed"]), name="answer_status_known"),
        ]

    def __str__(self) -> str:
        return f"{self.service_name} {self.key}: {self.status}"
