"""`EventBus`: the async face of this room, as layers know it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from hub.aio import in_thread
from hub.errors import ErrorCode, IntegrationError
from hub.events import bus, messages, topics
from hub.events.listener import Listener
from hub.events.live import Handler, LiveSubscription
from hub.events.messages import EventMessage

log = logging.getLogger(__name__)
MAX_LIVE_SUBSCRIPTIONS = 10_000


class EventBus:
    """Publish and subscribe in this process and event loop.

    A live subscription hears what is published while it is there. A durable one (``durable=True`` and a `name`) also
    gets what was published while its process was away.
    """

    def __init__(self, redis_url: str | None = None) -> None:
        self._redis_url = redis_url
        self._listener: Listener | None = None
        self._matcher: topics.Matcher[str] = topics.Matcher()
        self._live: dict[str, LiveSubscription] = {}

    async def publish(self, event: EventMessage) -> str:
        """Publish `event` and return its id; the errors are those of `hub.events.bus.publish`, E11182 for ``hub.`` topics."""
        return await in_thread(bus.publish_from_outside, event)

    async def publish_many(self, events: Iterable[EventMessage]) -> list[str]:
        """Publish up to 1,000 events in one round trip and return their ids in order."""
        return await in_thread(bus.publish_many_from_outside, list(events))

    async def subscribe(
        self, topic: str, handler: Handler, service_name: str | None = None, durable: bool = False, name: str | None = None
    ) -> str:
        """Call `handler` with every event whose topic matches, and return the subscription's id.

        `topic` may hold ``*`` (one word) and ``**`` (any number of words). `handler` is a function or a coroutine function
        of one argument. Errors: E11105 pattern, E11161 too many, E11140 Redis does not answer.
        """
        topics.check_pattern(topic)
        if not callable(handler):
            raise IntegrationError(ErrorCode.DELIVERY_TARGET_INVALID, f"handler of {topic} cannot be called")
        if len(self._live) >= MAX_LIVE_SUBSCRIPTIONS:
            raise IntegrationError(ErrorCode.TOO_MANY_SUBSCRIPTIONS, f"this process has {len(self._live)} subscriptions")
        return await self._subscribe_live(topic, handler, name or service_name or topic)

    async def _subscribe_live(self, topic: str, handler: Handler, name: str) -> str:
        subscription = LiveSubscription(uuid4().hex, topic, handler, name=name)
        self._live[subscription.id] = subscription
        self._matcher.add(topic, subscription.id)
        try:
            await self._listening().add(topic)
        except BaseException:
            await self.unsubscribe(subscription.id)
            raise
        return subscription.id

    async def unsubscribe(self, subscription_id: str) -> bool:
        """End a subscription of this process; False when there is no such one."""
        subscription = self._live.pop(subscription_id, None)
        if subscription is None:
            return False
        self._matcher.remove(subscription.pattern, subscription.id)
        await self._listening().remove(subscription.pattern)
        await subscription.close()
        return True

    def subscriptions(self) -> list[dict[str, Any]]:
        """Return what this process subscribed to: id, topic, name, and how many events it received, dropped and failed at."""
        return [
            {"id": one.id, "topic": one.pattern, "name": one.name, "received": one.received, "dropped": one.dropped, "failed": one.failed}
            for one in self._live.values()
        ]

    async def idle(self) -> None:
        """Return when every event heard so far was handled."""
        for subscription in list(self._live.values()):
            await subscription.idle()

    async def stop(self) -> None:
        """End all subscriptions and close the connection."""
        for subscription in list(self._live.values()):
            self._matcher.remove(subscription.pattern, subscription.id)
            await subscription.close()
        self._live.clear()
        if self._listener is not None:
            await self._listener.close()
            self._listener = None

    def _listening(self) -> Listener:
        if self._listener is None:
            self._listener = Listener(self._heard, redis_url=self._redis_url)
        return self._listener

    def _heard(self, text: str) -> None:
        try:
            event = messages.decode(text)
        except IntegrationError as exc:
            log.warning("a message on a live channel is no event", extra={"code": str(exc.code)})
            return
        for subscription_id in self._matcher.match(event.topic):
            self._live[subscription_id].offer(event)
