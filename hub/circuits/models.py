"""What operators want of breakers, and what became of them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from hub.circuits.config import CONFIG_FIELDS


class CircuitSetting(models.Model):
    """An operator's word on one service: values that override the default policy, and a manual state with its end.

    The row is kept so that the word outlives a Redis that lost its data.
    """

    class Mode(models.TextChoices):
        """What the breaker does regardless of its rules."""

        RULES = "", "by its rules"
        FORCED_OPEN = "forced_open", "forced open: refuse all calls"
        FORCED_CLOSED = "forced_closed", "forced closed: let all calls through"
        METRICS_ONLY = "metrics_only", "metrics only: let all through, record what the rules would do"

    service_name = models.CharField(max_length=128, unique=True)
    failure_threshold = models.PositiveIntegerField(null=True, blank=True)
    success_threshold = models.PositiveIntegerField(null=True, blank=True)
    timeout_sec = models.FloatField(null=True, blank=True)
    half_open_requests = models.PositiveIntegerField(null=True, blank=True)
    error_rate_threshold = models.FloatField(null=True, blank=True)
    minimum_calls = models.PositiveIntegerField(null=True, blank=True)
    window_size_sec = models.FloatField(null=True, blank=True)
    slow_call_sec = models.FloatField(null=True, blank=True)
    slow_rate_threshold = models.FloatField(null=True, blank=True)
    max_timeout_sec = models.FloatField(null=True, blank=True)
    mode = models.CharField(max_length=16, choices=Mode.choices, blank=True, default="")
    mode_by = models.CharField("set by", max_length=150, blank=True)
    mode_why = models.CharField("because", max_length=500, blank=True)
    mode_until = models.DateTimeField("until", null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "circuit breaker"
        ordering: ClassVar = ["service_name"]
        indexes: ClassVar = [
            # "which manual states must Redis know?", asked every few seconds
            models.Index(fields=["mode_until"], condition=~models.Q(mode=""), name="circuit_forced"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(mode__in=["", "forced_open", "forced_closed", "metrics_only"]), name="circuit_mode_known"
            ),
            models.CheckConstraint(
                condition=models.Q(mode="") | (models.Q(mode_until__isnull=False) & ~models.Q(mode_why="")),
                name="circuit_force_has_reason_and_end",
            ),
        ]

    def __str__(self) -> str:
        return self.service_name

    def overrides(self) -> dict[str, Any]:
        """Return the values that override the default policy."""
        given = {name: getattr(self, name) for name in CONFIG_FIELDS}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def is_forced(self) -> bool:
        """Tell whether a manual state is in force."""
        return bool(self.mode) and self.mode_until is not None and self.mode_until > timezone.now()


class CircuitTransition(models.Model):
    """One change of a breaker's state, with its case file: what led to it, by worker and error, with trace ids."""

    redis_id = models.CharField(max_length=40, unique=True, editable=False)
    service_name = models.CharField(max_length=128)
    old_state = models.CharField(max_length=16)
    new_state = models.CharField(max_length=16)
    why = models.CharField(max_length=64)
    by = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    until = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=255, blank=True)
    trace_id = models.CharField(max_length=32, blank=True)
    generation = models.BigIntegerField()
    case = models.JSONField("case file", default=dict)
    at = models.DateTimeField()

    class Meta:
        verbose_name = "breaker transition"
        ordering: ClassVar = ["-at", "-id"]
        indexes: ClassVar = [
            # the history of one breaker, newest first
            models.Index(fields=["service_name", "-at"], name="transition_service"),
            # retention, and "what happened in the last hour?"
            models.Index(fields=["at"], name="transition_at"),
            # from a trace to the breaker it tripped
            models.Index(fields=["trace_id"], condition=~models.Q(trace_id=""), name="transition_trace"),
        ]

    def __str__(self) -> str:
        return f"{self.service_name}: {self.old_state} -> {self.new_state}"
