"""What all commands of the hub have in common: whatever is refused or away is one line with a code, and exit code 1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hub.errors import ErrorCode, IntegrationError
from hub.outages import outage


class HubCommand(BaseCommand):
    """A command whose user reads no traceback for what is not a fault of the program."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run it; `CommandError` for what the hub refuses and for a database or Redis that is away."""
        try:
            _check_text(options.values())
            return super().execute(*args, **options)
        except IntegrationError as exc:
            raise CommandError(str(exc)) from exc
        except Exception as exc:
            found = outage(exc)
            if found is None:
                raise
            raise CommandError(str(found)) from exc


def _check_text(given: Iterable[object]) -> None:
    """Refuse bytes of the shell that are no UTF-8, and NUL: no database takes them."""
    for value in given:
        if isinstance(value, str) and ("\0" in value or (not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value))):
            raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"{value[:40]!a} is no text")
