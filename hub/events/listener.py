"""One pub/sub connection of this process: which channels it hears, and what it does when Redis goes away."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import redis.asyncio
from django.conf import settings
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from hub.errors import ErrorCode, IntegrationError
from hub.events import topics
from hub.events.stream import LIVE

log = logging.getLogger(__name__)
CONFIRM_TIMEOUT_SEC = 5.0
FIRST_DELAY_SEC, MAX_DELAY_SEC = 0.1, 5.0


class Listener:
    """Hears the channels of the patterns it is told, and calls `heard` with each text.

    Redis' own patterns cross dots (``agent.*`` there also hears ``agent.created.twice``): they only fetch, the exact
    matcher behind `heard` decides. After a lost connection all channels are subscribed again; what was published
    meanwhile is lost to live subscribers (durable ones are not concerned).
    """

    def __init__(self, heard: Callable[[str], None]) -> None:
        self._heard = heard
        self._url = settings.REDIS_URL
        self._wanted: Counter[str] = Counter()
        self._confirmed: dict[str, asyncio.Event] = {}
        self._link: redis.asyncio.Redis | None = None
        self._pubsub: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None
        self.reconnects = 0

    async def add(self, pattern: str) -> None:
        """Hear what may match `pattern`; returns when Redis has confirmed it. E11140 when it does not in 5 s."""
        channel = channel_of(pattern)
        self._wanted[channel] += 1
        confirmed = self._confirmed.setdefault(channel, asyncio.Event())
        self.open()
        if self._wanted[channel] == 1:
            await self._tell("subscribe", channel)
        try:
            await asyncio.wait_for(confirmed.wait(), CONFIRM_TIMEOUT_SEC)
        except TimeoutError:
            raise IntegrationError(ErrorCode.EVENT_STORE_UNAVAILABLE, f"Redis did not confirm {pattern} in time") from None

    async def remove(self, pattern: str) -> None:
        """Stop hearing `pattern`, unless another subscription needs the same channel."""
        channel = channel_of(pattern)
        self._wanted[channel] -= 1
        if self._wanted[channel] <= 0:
            del self._wanted[channel]
            self._confirmed.pop(channel, None)
            await self._tell("unsubscribe", channel)

    async def close(self) -> None:
        """Stop hearing and close the connection."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self._disconnect()

    def is_hearing(self) -> bool:
        """Tell whether Redis has confirmed every channel on the present connection."""
        return all(confirmed.is_set() for confirmed in self._confirmed.values())

    def open(self) -> None:
        """Connect, unless it is done."""
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_forever(), name="hub-events-listener")

    async def _tell(self, verb: str, channel: str) -> None:
        """Change the subscription on the open connection; without one, the next connection does it."""
        if self._pubsub is None:
            return
        command = getattr(self._pubsub, f"p{verb}" if topics.is_pattern(channel) else verb)
        try:
            await command(channel)
        except (redis.RedisError, OSError) as exc:
            log.info("the next connection will subscribe", extra={"error": type(exc).__name__})

    async def _read_forever(self) -> None:
        delay = FIRST_DELAY_SEC
        while True:
            try:
                await self._connect()
                delay = FIRST_DELAY_SEC
                await self._read()
            except (redis.RedisError, OSError, asyncio.IncompleteReadError) as exc:
                self.reconnects += 1
                log.warning("the connection for live events is lost", extra={"error": type(exc).__name__, "retry_sec": delay})
            await self._disconnect()
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311  (jitter, no secret)
            delay = min(delay * 2, MAX_DELAY_SEC)

    async def _connect(self) -> None:
        self._link = redis.asyncio.Redis.from_url(
            self._url,
            socket_connect_timeout=2,
            socket_keepalive=True,
            health_check_interval=10,
            decode_responses=True,
            # Retrying is this loop's: the library's own would subscribe again on a connection that is given up here.
            retry=Retry(NoBackoff(), 0),
        )
        pubsub = self._link.pubsub()
        told = list(self._wanted)
        await _subscribe(pubsub, told)
        # From here on `add` talks to this connection; what it recorded while we waited is told now.
        self._pubsub = pubsub
        await _subscribe(pubsub, [channel for channel in self._wanted if channel not in told])

    async def _read(self) -> None:
        pubsub = self._pubsub
        while pubsub is not None:
            if not pubsub.subscribed:
                # Without a channel there is nothing to read; `add` comes with one.
                await asyncio.sleep(0.01)
                continue
            message = await pubsub.get_message(timeout=1.0)
            if message is not None:
                self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] in ("message", "pmessage"):
            self._heard(message["data"])
        elif message["type"] in ("subscribe", "psubscribe") and message["channel"] in self._confirmed:
            self._confirmed[message["channel"]].set()

    async def _disconnect(self) -> None:
        pubsub, self._pubsub, link, self._link = self._pubsub, None, self._link, None
        for confirmed in self._confirmed.values():
            confirmed.clear()
        for closable in (pubsub, link):
            if closable is not None:
                try:
                    await closable.aclose()
                except (redis.RedisError, OSError) as exc:
                    log.debug("closing failed", extra={"error": type(exc).__name__})


async def _subscribe(pubsub: PubSub, channels: list[str]) -> None:
    plain = [channel for channel in channels if not topics.is_pattern(channel)]
    globs = [channel for channel in channels if topics.is_pattern(channel)]
    if plain:
        await pubsub.subscribe(*plain)
    if globs:
        await pubsub.psubscribe(*globs)


def channel_of(pattern: str) -> str:
    """Return the channel of a topic, or the Redis glob that covers everything a pattern may match."""
    words = pattern.split(".")
    many = words.index(topics.MANY) if topics.MANY in words else len(words)
    if many == len(words):
        return LIVE + pattern
    # `agent.**` also matches `agent`, so the dot before the stars goes.
    return LIVE + ".".join(words[:many]) + "*"
