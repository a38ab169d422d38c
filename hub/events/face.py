"""`EventBus`: the async face of this room, as layers know it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from hub.aio import in_thread
from hub.errors import ErrorCode, IntegrationError
from hub.events import bus, messages, subscriptions, topics
from hub.events.durable import DurableConsumer
from hub.events.hearing import Hearing
from hub.events.listener import Listener
from hub.events.live import Handler, LiveSubscription
from hub.events.messages import EventMessage
from hub.events.targets import HandlerTarget

log = logging.getLogger(__name__)
MAX_LIVE_SUBSCRIPTIONS = 10_000


class EventBus:
    """Publish and subscribe in this process and event loop.

    A live subscription hears what is published while it is there. A durable one (``durable=True`` and a `name`) also
    gets what was published while its process was away.
    """

    def __init__(self) -> None:
        self._listener: Listener | None = None
        self._matcher: topics.Matcher[str] = topics.Matcher()
        self._live: dict[str, LiveSubscription] = {}
        self._durable: dict[str, DurableConsumer] = {}

    async def start(self) -> None:
        """Connect for live events; subscribing does it too."""
        self._listening().open()

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
        of one argument. A durable subscription needs a `name` (or a `service_name`), and its id is that name: a process
        that subscribes under it again gets what was published meanwhile, each event at least once.
        Errors: E11105 pattern, E11106 handler, E11161 too many, E11140 Redis does not answer.
        """
        topics.check_pattern(topic)
        if not callable(handler):
            raise IntegrationError(ErrorCode.DELIVERY_TARGET_INVALID, f"handler of {topic} cannot be called")
        if len(self._live) >= MAX_LIVE_SUBSCRIPTIONS:
            raise IntegrationError(ErrorCode.TOO_MANY_SUBSCRIPTIONS, f"this process has {len(self._live)} subscriptions")
        if durable:
            return await self._subscribe_durably(topic, handler, name or (f"{service_name}:{topic}" if service_name else ""))
        return await self._subscribe_live(topic, handler, name or service_name or topic)

    async def _subscribe_durably(self, topic: str, handler: Handler, name: str) -> str:
        if not name:
            raise IntegrationError(ErrorCode.ARGUMENT_MISSING, f"a durable subscription to {topic} needs a name")
        if name in self._durable:
            raise IntegrationError(ErrorCode.CONFLICT, f"this process has a durable subscription {name[:80]!r} already")
        await in_thread(subscriptions.subscribe, name, topic, HandlerTarget(handler=name))
        self._durable[name] = DurableConsumer(name, handler)
        return name

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
        """End a subscription of this process; False when there is no such one.

        A durable one goes on collecting events for the next process of its name; `hub.events.subscriptions.unsubscribe` removes it.
        """
        consumer = self._durable.pop(subscription_id, None)
        if consumer is not None:
            await consumer.close()
            return True
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
        for consumer in self._durable.values():
            await consumer.close()
        self._durable.clear()
        if self._listener is not None:
            await self._listener.close()
            self._listener = None

    def _listening(self) -> Listener:
        if self._listener is None:
            self._listener = Listener(self._heard)
        return self._listener

    def _heard(self, text: str) -> None:
        try:
            event = messages.decode(text)
        except IntegrationError as exc:
            log.warning("a message on a live channel is no event", extra={"code": str(exc.code)})
            return
        matching = [self._live[subscription_id] for subscription_id in self._matcher.match(event.topic)]
        takers = [one for one in matching if one.expects(event)]
        hearing = Hearing(event, len(takers))
        for taker in takers:
            taker.offer(hearing)
