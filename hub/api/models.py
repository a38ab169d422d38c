"""The tokens of the HTTP API."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone


class ApiToken(models.Model):
    """Leave to use the API; of the secret only a digest is kept, so nobody can read it again."""

    name = models.CharField(max_length=64, help_text="who uses it; what is done with it is written down under this name")
    prefix = models.CharField(max_length=8, help_text="the part that may be shown")
    digest = models.CharField(max_length=64, editable=False, help_text="SHA-256 of the secret")
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "API token"
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            # each is also the index by which it is found
            models.UniqueConstraint(fields=["name"], name="api_token_name_once"),
            models.UniqueConstraint(fields=["prefix"], name="api_token_prefix_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["expires_at"], name="api_token_expired"),  # retention
            models.Index(fields=["revoked_at"], name="api_token_revoked", condition=models.Q(revoked_at__isnull=False)),  # retention
        ]

    def __str__(self) -> str:
        return f"{self.name} (hub_{self.prefix}…)"

    @property
    def is_valid(self) -> bool:
        """Tell whether it is neither revoked nor expired."""
        return self.revoked_at is None and self.expires_at > timezone.now()
