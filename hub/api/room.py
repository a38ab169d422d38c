"""How many calls to services this process makes for API callers at once: some threads must stay free for the console."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from hub.errors import ErrorCode, IntegrationError
from hub.telemetry import metrics

_lock = threading.Lock()
_taken = 0


@contextmanager
def one_call() -> Iterator[None]:
    """Hold a place for one call; E11364 when all are taken, so that nobody waits in a line nobody sees."""
    global _taken
    with _lock:
        if _taken >= settings.HUB.api_max_calls_at_once:
            metrics.increment("hub_api_calls_refused_total")
            raise IntegrationError(
                ErrorCode.ROUTE_RATE_LIMITED,
                f"this process makes {_taken} calls for others already",
                {"retry_after_sec": 1},
                recovery_suggestion="try again, or send the task hub.requests.route to the queue, which waits",
            )
        _taken += 1
    try:
        yield
    finally:
        with _lock:
            _taken -= 1
