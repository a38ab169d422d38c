"""`manage.py demo`: show on a running hub what it does, and check it in the services' own state."""

from __future__ import annotations

import sys
from typing import Any

from celery.exceptions import CeleryError, TimeoutError
from django.conf import settings
from kombu.exceptions import OperationalError

from demo.story import ANSWER_TIMEOUT_SEC, Story, Unexpected
from hub.errors import ErrorCode, IntegrationError
from hub.management.command import HubCommand


class Command(HubCommand):
    """Tell the demo's story; exit code 0 when all of it came true."""

    help = "Route a request, broadcast, complete a saga and undo another on the hub that `manage.py up` started."

    def handle(self, *args: Any, **options: Any) -> None:
        """Tell it; the first thing that is not so ends it with exit code 1."""
        try:
            Story(_running_hub(), settings.HUB.var_dir, self._say).tell()
        except Unexpected as exc:
            sys.exit(f"demo: {exc}")
        except TimeoutError:
            sys.exit(f"demo: no answer within {ANSWER_TIMEOUT_SEC:g} s; `manage.py doctor` says what is missing")
        except (IntegrationError, CeleryError, OperationalError, OSError) as exc:
            sys.exit(f"demo: {type(exc).__name__}: {exc}")
        self._say("The demo passed.")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _running_hub() -> dict[str, Any]:
    record: dict[str, Any] = settings.HUB.run_record()
    if not record.get("demo"):
        what = "the running hub was started without its demo" if record else f"no hub runs on {settings.HUB.var_dir}"
        raise IntegrationError(ErrorCode.NOT_FOUND, what, recovery_suggestion="start one in another terminal: python3 manage.py up")
    return record
