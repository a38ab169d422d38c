"""What a worker tells Flower of its tasks goes out a tenth of a second at a time: Celery would publish it at each turn of its loop."""

from __future__ import annotations

from typing import Any

from celery import bootsteps

GATHERED_SEC = 0.1


class GatherEvents(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Started after Celery's own step for events, also after each reconnection, and ended before it."""

    requires = ("celery.worker.consumer.events:Events",)

    def start(self, consumer: Any) -> None:
        # Pools without an event loop (solo, threads on some platforms) publish each event at once.
        if consumer.hub and consumer.event_dispatcher:
            consumer.event_dispatcher.on_send_buffered = _Gathering(consumer)

    def shutdown(self, consumer: Any) -> None:
        """Say what was not said yet: how the last tasks of a worker ended."""
        if consumer.hub and consumer.event_dispatcher and consumer.event_dispatcher.enabled:
            consumer.event_dispatcher.flush()


class _Gathering:
    """Called for each event that waits: the first one sets the clock for all that come before it runs off."""

    def __init__(self, consumer: Any) -> None:
        self._consumer, self._is_due = consumer, False

    def __call__(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._consumer.hub.call_later(GATHERED_SEC, self._flush)

    def _flush(self) -> None:
        self._is_due = False
        if self._consumer.event_dispatcher:
            self._consumer.event_dispatcher.flush()
