"""What all commands of the hub have in common: whatever is refused or away is one line with a code, and exit code 1."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hub.errors import IntegrationError
from hub.outages import outage


class HubCommand(BaseCommand):
    """A command whose user reads no traceback for what is not a fault of the program."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run it; `CommandError` for what the hub refuses and for a database or Redis that is away."""
        try:
            return super().execute(*args, **options)
        except IntegrationError as exc:
            raise CommandError(str(exc)) from exc
        except Exception as exc:
            found = outage(exc)
            if found is None:
                raise
            raise CommandError(str(found)) from exc
