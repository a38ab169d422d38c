"""What all commands of the hub have in common: whatever is refused or away is one line with a code, and exit code 1."""

from __future__ import annotations

import json
import os
import sys
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
            said = super().execute(*args, **options)
            self.stdout.flush()
            return said
        except BrokenPipeError:
            # Whoever reads, such as `head` or a closed pager, has read enough. What is flushed at the exit must not say so again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except IntegrationError as exc:
            raise CommandError(str(exc)) from exc
        except Exception as exc:
            found = outage(exc)
            if found is None:
                raise
            raise CommandError(str(found)) from exc

    def print_rows(self, found: dict[str, Any] | list[dict[str, Any]], *, as_json: bool) -> None:
        """Print one row or several, each value after its name."""
        rows = found if isinstance(found, list) else [found]
        text = "\n\n".join("\n".join(f"{name:>12}  {value}" for name, value in row.items()) for row in rows)
        self.stdout.write(json.dumps(found, indent=2, default=str) if as_json else text or "none")


def _check_text(given: Iterable[object]) -> None:
    """Refuse bytes of the shell that are no UTF-8, and NUL: no database takes them."""
    for value in given:
        if isinstance(value, str) and ("\0" in value or (not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value))):
            raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"{value[:40]!a} is no text")
