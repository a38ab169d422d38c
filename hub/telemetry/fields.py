"""A column for JSON that may hold secrets: sealed in the table, itself in Python."""

from __future__ import annotations

from typing import Any

from django.db import models

from hub.json_values import SEALED
from hub.telemetry.sealing import sealer


class SealedJSONField(models.JSONField):
    """A `JSONField` whose secrets are sealed before they are written and opened when they are read.

    The column is the same, so that migrations see a plain `JSONField`.
    """

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        may_hold_secrets = value and isinstance(value, dict | list | str)
        return super().get_db_prep_value(sealer().seal(value) if may_hold_secrets else value, connection, prepared)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        found = super().from_db_value(value, expression, connection)
        return sealer().open(found) if isinstance(value, str) and SEALED in value else found

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs
