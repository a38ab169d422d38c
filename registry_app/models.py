"""What is kept of services: the instances with their health, every change of it, and who owns a name."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from registry_app.checks import HealthCheckType
from registry_app.values import ServiceStatus

STATUSES = [(status.value, status.value) for status in ServiceStatus]
CHECK_TYPES = [("none", "none"), *((kind.value, kind.value) for kind in HealthCheckType)]


class Service(models.Model):
    """One instance of a service; a row stays after deregistration, so that its history does."""

    service_id = models.CharField(max_length=36, unique=True)
    service_name = models.CharField(max_length=64)
    service_version = models.CharField(max_length=64)
    endpoint = models.CharField(max_length=512)
    weight = models.PositiveIntegerField(default=100)
    tags = models.JSONField(default=list, blank=True)
    capabilities = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    check_type = models.CharField(max_length=8, choices=CHECK_TYPES, default="none")
    health_check = models.JSONField(null=True, blank=True)

    owner = models.CharField(max_length=64, blank=True, default="")
    generation = models.BigIntegerField(default=0)
    registered_at = models.DateTimeField()
    deregistered_at = models.DateTimeField(null=True, blank=True)

    status = models.CharField(max_length=10, choices=STATUSES, default=ServiceStatus.UNKNOWN.value)
    status_since = models.DateTimeField()
    reason = models.CharField(max_length=500, blank=True, default="")
    successes = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    slow_answers = models.PositiveIntegerField(default=0)
    penalty = models.FloatField(default=0)
    penalty_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    witnesses = models.JSONField(default=dict, blank=True)
    tracker = models.CharField(max_length=60, blank=True, default="", help_text="The last verdicts, one letter each, newest last.")
    recent_ms = models.JSONField(default=list, blank=True, help_text="How long the last checks took, newest last.")
    health_seq = models.BigIntegerField(default=0)

    next_probe_at = models.DateTimeField(null=True, blank=True)
    last_probe_at = models.DateTimeField(null=True, blank=True)
    last_heartbeat_at = models.DateTimeField(null=True, blank=True)

    maintenance_until = models.DateTimeField(null=True, blank=True)
    maintenance_reason = models.CharField(max_length=200, blank=True, default="")
    maintenance_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        verbose_name = "service instance"
        indexes = [
            # Look-ups by name, and the snapshot that routing works on.
            models.Index(fields=["service_name"], name="service_live_name", condition=Q(deregistered_at=None)),
            # The claim of due probes.
            models.Index(fields=["next_probe_at"], name="service_due", condition=Q(next_probe_at__isnull=False)),
            # Self-preservation: how many went bad just now.
            models.Index(fields=["failing_since"], name="service_failing", condition=Q(failing_since__isnull=False)),
            # Maintenance whose end has come.
            models.Index(fields=["maintenance_until"], name="service_maintenance", condition=Q(maintenance_until__isnull=False)),
            # Pruning of those who left.
            models.Index(fields=["deregistered_at"], name="service_left", condition=Q(deregistered_at__isnull=False)),
            # The admin's list: filter by status, order by name.
            models.Index(fields=["status", "service_name"], name="service_status_name"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=[value for value, _ in STATUSES]), name="service_status_known"),
            models.CheckConstraint(condition=Q(check_type__in=[value for value, _ in CHECK_TYPES]), name="service_check_type_known"),
            models.CheckConstraint(condition=Q(weight__gte=1), name="service_weight_positive"),
            # Who left is neither probed nor chosen.
            models.CheckConstraint(condition=Q(deregistered_at=None) | Q(next_probe_at=None), name="service_left_is_not_due"),
        ]

    def __str__(self) -> str:
        return f"{self.service_name} at {self.endpoint}"


class HealthChange(models.Model):
    """What changed about an instance: enough of it to tell what the registry looked like then."""

    class Kind(models.TextChoices):
        """Why the row was written."""

        REGISTERED = "registered"
        UPDATED = "updated"
        HEALTH = "health"
        MAINTENANCE = "maintenance"
        DEREGISTERED = "deregistered"

    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="changes", db_index=False)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    old_status = models.CharField(max_length=10, choices=STATUSES)
    new_status = models.CharField(max_length=10, choices=STATUSES)
    reason = models.CharField(max_length=500)
    service_version = models.CharField(max_length=64)
    maintenance_until = models.DateTimeField(null=True, blank=True)
    at = models.DateTimeField()

    class Meta:
        verbose_name = "health change"
        indexes = [
            # A service's own history, and its last change before a moment.
            models.Index(fields=["service", "at"], name="health_change_service_at"),
            # The newest changes of all, and pruning.
            models.Index(fields=["at"], name="health_change_at"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["registered", "updated", "health", "maintenance", "deregistered"]), name="health_change_kind_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.old_status} to {self.new_status}"


class NameOwner(models.Model):
    """Who may register instances of a name; an empty owner means anybody."""

    service_name = models.CharField(max_length=64, primary_key=True)
    owner = models.CharField(max_length=64, blank=True, default="")
    since = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.service_name} of {self.owner or 'anybody'}"


class RegistryState(models.Model):
    """One row: the revision that look-ups compare, and whether the hub suspects itself."""

    revision = models.CharField(max_length=32, help_text="A new value with every change that routing must see.")
    frozen_since = models.DateTimeField(null=True, blank=True)
    counting_from = models.DateTimeField(null=True, blank=True)
    frozen_reason = models.CharField(max_length=300, blank=True, default="")

    def __str__(self) -> str:
        return self.frozen_reason or "not frozen"
