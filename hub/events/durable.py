"""A durable subscription whose handler is a function of this process: it fetches what is due, so it catches up by itself."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

import redis
from django.db import DatabaseError

from hub import database_clock
from hub.aio import in_thread
from hub.errors import ErrorCode, IntegrationError
from hub.events import answers, causes, deliveries, dispatch, messages, stream, subscriptions
from hub.events.live import Handler, call
from hub.events.messages import EventMessage
from hub.events.models import Delivery, Subscription
from hub.telemetry import conventions, tracing

log = logging.getLogger(__name__)
BATCH = 200
IDLE_SEC, AWAY_SEC = 0.2, 2.0


class DurableConsumer:
    """Calls the handler with each event of a durable subscription until `close`; an event it fails at comes again."""

    def __init__(self, name: str, handler: Handler) -> None:
        self.id = name
        self.received = self.failed = 0
        self._handler = handler
        self._task = asyncio.create_task(self._run(), name=f"hub-events-{name}")

    async def close(self) -> None:
        """Stop; an event that was not handled to its end waits for the next process of this name."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                rows = await self._fetch()
                await self._handle_all(rows)
                pause = 0.0 if rows else IDLE_SEC
            except (DatabaseError, redis.RedisError, OSError, IntegrationError) as exc:
                # Also when somebody removed the subscription, or had it go elsewhere: it may be made again under its name.
                log.warning(
                    "a durable subscriber waits", extra={"subscription": self.id, "error": str(getattr(exc, "code", type(exc).__name__))}
                )
                pause = AWAY_SEC
            await asyncio.sleep(pause)

    async def _fetch(self) -> list[Delivery]:
        """Claim what is due; when closed meanwhile, give it back at once: its lease would hold it for a minute."""
        # Not where handlers run: those that hang would hold the last thread, and nothing would say so.
        claiming = asyncio.ensure_future(in_thread(fetch, self.id))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await in_thread(_finish, [], await claiming)
            raise

    async def _handle_all(self, rows: Sequence[Delivery]) -> None:
        """Handle claimed deliveries while the claim lasts, and give the rest back."""
        begun, done, left = time.monotonic(), [], list(rows)
        try:
            # The claim is so much longer than one handler may take: one that is begun later could outlast it, and what was
            # handled before it would be taken for unanswered.
            while left and time.monotonic() - begun <= deliveries.GRACE_SEC / 2:
                if await self._succeeds(left[0]):
                    done.append(left[0].pk)
                del left[0]
        finally:
            finishing = asyncio.ensure_future(in_thread(_finish, done, left))
            try:
                await asyncio.shield(finishing)
            except asyncio.CancelledError:
                await finishing  # who closes is to find it written
                raise

    async def _succeeds(self, row: Delivery) -> bool:
        self.received += 1
        limit = asyncio.timeout(row.subscription.timeout_sec)
        try:
            async with limit:
                await self._handle(messages.to_deliver(row.event.body))
        except Exception as exc:
            # Whatever a handler raises is an answer: it decides between another attempt and the dead letters.
            self.failed += 1
            log.warning("a durable handler failed", extra={"subscription": self.id, "delivery": row.pk, "error": type(exc).__name__})
            code = exc.code if isinstance(exc, IntegrationError) else None
            error = f"TimeoutError: not handled within {row.subscription.timeout_sec:g} s" if limit.expired() else answers.describe(exc)
            await in_thread(dispatch.answer_failed, row.pk, row.attempts, error=error, code=code)
            return False
        return True

    async def _handle(self, event: EventMessage) -> None:
        attributes = {
            conventions.EVENT_ID: event.metadata.event_id,
            conventions.MESSAGING_DESTINATION: event.topic,
            conventions.SUBSCRIPTION: self.id,
        }
        traceparent = event.metadata.traceparent or None
        with (
            causes.handling(event),
            tracing.span(f"process {event.topic}", kind="consumer", attributes=attributes, traceparent=traceparent),
        ):
            await call(self._handler, event)


def fetch(name: str) -> list[Delivery]:
    """Claim what a subscription has due, at most 200 at once; E11921 when it goes elsewhere by now, E11120 when it is gone."""
    subscription, now = subscriptions.find(name), database_clock.moment()
    if subscription.kind != Subscription.Kind.HANDLER:
        raise IntegrationError(ErrorCode.CONFLICT, f"{name} goes to {subscription.target} by now")
    if subscription.paused or (subscription.held_until or now) > now:
        return []
    floor = stream.taken_over() if subscription.ordering != Subscription.Ordering.NONE else ""
    rows = deliveries.claim(subscription, now=now, limit=min(BATCH, dispatch.most_under_way(subscription)), floor=floor)
    for row in rows:
        row.subscription = subscription
    return rows


def _finish(done: Sequence[int], left: Sequence[Delivery]) -> None:
    if done:
        deliveries.delivered(done, now=database_clock.moment())
    deliveries.release(left)
