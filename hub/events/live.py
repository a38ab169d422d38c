"""A live subscription of this process: a bounded queue and one consumer, so that a slow handler holds up nobody else."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from hub.aio import in_waiting_thread
from hub.events.hearing import Hearing
from hub.events.messages import EventMessage
from hub.telemetry import metrics

log = logging.getLogger(__name__)

Handler = Callable[[EventMessage], Awaitable[Any] | Any]
QUEUE_LIMIT = 1_000
REMEMBERED_IDS = 4_096


class LiveSubscription:
    """Hands each event to the handler once; what does not fit into the queue is dropped and counted in `dropped`."""

    def __init__(self, subscription_id: str, pattern: str, handler: Handler, *, name: str) -> None:
        self.id = subscription_id
        self.pattern = pattern
        self.name = name
        self.received = self.dropped = self.failed = 0
        self._handler = handler
        self._queue: asyncio.Queue[Hearing] = asyncio.Queue(QUEUE_LIMIT)
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._consumer = asyncio.create_task(self._consume(), name=f"hub-events-{self.id}")

    def expects(self, event: EventMessage) -> bool:
        """Tell whether an event is new here (two patterns of one connection may both bring it)."""
        if event.metadata.event_id in self._seen:
            return False
        self._seen[event.metadata.event_id] = None
        if len(self._seen) > REMEMBERED_IDS:
            self._seen.popitem(last=False)
        return True

    def offer(self, hearing: Hearing) -> None:
        """Queue an event, or drop it when there is no room."""
        try:
            self._queue.put_nowait(hearing)
        except asyncio.QueueFull:
            hearing.let_go()
            self._drop()

    def _drop(self) -> None:
        self.dropped += 1
        metrics.increment("hub_events_dropped_total", subscriber=self.name)
        if self.dropped == 1 or self.dropped % QUEUE_LIMIT == 0:
            extra = {"subscriber": self.name, "pattern": self.pattern, "dropped": self.dropped}
            log.warning("a live subscriber is too slow, events are dropped", extra=extra)

    async def _consume(self) -> None:
        while True:
            hearing = await self._queue.get()
            try:
                await self._handle(hearing)
            finally:
                hearing.done(self.name)
            self._queue.task_done()

    async def _handle(self, hearing: Hearing) -> None:
        self.received += 1
        try:
            with hearing.handling(self.name):
                await call(self._handler, hearing.event)
        except Exception:
            # The edge of the bus: a live handler that fails must not end its subscription, nor touch the others.
            self.failed += 1
            metrics.increment("hub_event_handler_failures_total", subscriber=self.name)
            extra = {"subscriber": self.name, "event_id": hearing.event.metadata.event_id}
            log.exception("a live handler failed", extra=extra)

    async def idle(self) -> None:
        """Return when everything queued so far was handled."""
        await self._queue.join()

    async def close(self) -> None:
        """Stop; what is queued is not handled any more."""
        self._consumer.cancel()
        await asyncio.gather(self._consumer, return_exceptions=True)
        while not self._queue.empty():
            self._queue.get_nowait().let_go()


async def call(handler: Handler, event: EventMessage) -> Any:
    """Call an async handler here and a sync one in a thread."""
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None)):  # noqa: B004
        return await handler(event)
    answer = await in_waiting_thread(handler, event)
    return await answer if inspect.isawaitable(answer) else answer
