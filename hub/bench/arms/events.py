"""Events: from `publish` to a handler, beside bare Redis and kombu doing the like; publishing alone; matching patterns.

A rate is what the slowest subscriber handled in a second. Publishers and the relay are processes of their own, the
subscribers live in this one.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import redis
from kombu import Connection, Exchange, Queue

from hub.bench import measure, plain
from hub.bench.figures import Sample
from hub.bench.publishers import CHANNEL, EXCHANGE, STREAM, TOPIC
from hub.bench.stage import Stage
from hub.events import bus, relay, subscriptions
from hub.events.face import EventBus
from hub.events.messages import EventMessage
from hub.events.topics import Matcher
from hub.testing.rig import wait_until

SECONDS, PATIENCE_SEC = 2.0, 60.0
SINGLES, BATCH, BATCHES = 500, 50, 60
PATTERNS = 1_000
GROUP, KOMBU_QUEUE, SUBSCRIPTION = "bench", "bench-kombu", "bench-durable"


class Counter:
    """How many events each of some subscribers handled; the slowest counts."""

    def __init__(self, subscribers: int = 1) -> None:
        self.counts = [0] * subscribers

    def handler(self, place: int) -> Callable[[Any], Any]:
        """Return an async handler that counts for one subscriber."""

        async def handle(_: Any) -> None:
            self.counts[place] += 1

        return handle

    def measure(self, stage: Stage, publisher: str) -> Sample:
        """Let somebody publish, and return events per second from the first event on."""
        stage.publisher(publisher)
        try:
            wait_until(lambda: min(self.counts), timeout_sec=PATIENCE_SEC, what="the first event to arrive")
            return measure.rate(stage, self._handled)
        except TimeoutError as exc:
            raise TimeoutError(f"{exc}{stage.ended()}") from None  # the publisher's last words, before it is ended
        finally:
            stage.end(f"publisher-{publisher}")

    def _handled(self) -> int:
        before = min(self.counts)
        time.sleep(SECONDS)
        return min(self.counts) - before


def live(pattern: str, subscribers: int) -> Callable[[Stage], Sample]:
    """Return the arm of `publish` to live handlers of one process."""
    return lambda stage: _to_handlers(stage, pattern, subscribers, name=None)


def durable(stage: Stage) -> Sample:
    """`publish` through the stream, the relay and the database to a durable handler."""
    try:
        return _to_handlers(stage, TOPIC, 1, name=SUBSCRIPTION)
    finally:
        subscriptions.unsubscribe(SUBSCRIPTION)


def _to_handlers(stage: Stage, pattern: str, subscribers: int, *, name: str | None) -> Sample:
    counter = Counter(subscribers)
    with _relayed(stage), _event_loop() as run:
        face = run(_make_face())
        for place in range(subscribers):
            run(face.subscribe(pattern, counter.handler(place), durable=name is not None, name=name))
        try:
            return counter.measure(stage, "ours")
        finally:
            run(face.stop())
            run(_end_the_rest())


async def _make_face() -> EventBus:
    return EventBus()


async def _end_the_rest() -> None:
    """Cancel what still waits in this loop: nobody will look at it again."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@contextmanager
def _relayed(stage: Stage) -> Iterator[None]:
    """Have the relay running, and let it pass all events before the next arm begins: they are this arm's load."""
    stage.relay()
    yield
    wait_until(lambda: not relay.behind()[0], timeout_sec=PATIENCE_SEC, what="the relay to pass what was published")


@contextmanager
def _event_loop() -> Iterator[Callable[[Any], Any]]:
    """Give a function that runs a coroutine in an event loop of another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE_SEC)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def published(size: int, times: int) -> Callable[[Stage], Sample]:
    """Return the arm of publishing alone, one by one or `size` in one round trip."""

    def work() -> int:
        for _ in range(times):
            events = [EventMessage.create(TOPIC, "created", {"n": n}, source_service="bench") for n in range(size)]
            if size == 1:
                bus.publish(events[0])
            else:
                bus.publish_many(events)
        return size * times

    def arm(stage: Stage) -> Sample:
        with _relayed(stage):
            return measure.rate(stage, work)

    return arm


def matched(stage: Stage) -> Sample:
    """Topics that find their subscriptions among a thousand wildcard patterns, none of them remembered."""
    matcher: Matcher[int] = Matcher()
    for number in range(PATTERNS):
        matcher.add((f"agent.*.n{number}", f"agent.a{number}.**", f"order.n{number}.*")[number % 3], number)
    matcher.REMEMBERED = 0
    topics = [f"agent.a{number}.n{number + 1}" for number in range(PATTERNS)]

    def work() -> int:
        for topic in topics * 20:
            matcher.match(topic)
        return PATTERNS * 20

    return measure.rate(stage, work)


def pubsub(subscribers: int, *, pattern: bool = False) -> Callable[[Stage], Sample]:
    """Return the arm of bare PUBLISH to SUBSCRIBE or PSUBSCRIBE, a thread for each subscriber."""

    def arm(stage: Stage) -> Sample:
        counter = Counter(subscribers)
        with ExitStack() as stack:
            for place in range(subscribers):
                stack.enter_context(_hearing(counter, place, pattern=pattern))
            return counter.measure(stage, "pubsub")

    return arm


@contextmanager
def _hearing(counter: Counter, place: int, *, pattern: bool) -> Iterator[None]:
    heard: Any = plain.redis_client().pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    if pattern:
        heard.psubscribe(CHANNEL[:-3] + "*")
    else:
        heard.subscribe(CHANNEL)

    def listen() -> None:
        message = heard.get_message(timeout=0.5)
        if message:
            json.loads(message["data"])
            counter.counts[place] += 1

    with _over_and_over(listen):
        yield
    heard.close()


@contextmanager
def _over_and_over(once: Callable[[], None]) -> Iterator[None]:
    """Do it in a thread until the block ends."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            once()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def stream(stage: Stage) -> Sample:
    """Bare XADD to XREADGROUP of a hundred and XACK."""
    counter, link = Counter(), plain.redis_client()
    link.delete(STREAM)
    link.xgroup_create(STREAM, GROUP, id="0", mkstream=True)

    def read() -> None:
        answer: Any = link.xreadgroup(GROUP, "one", {STREAM: ">"}, count=100, block=500)
        for _, entries in answer or []:
            for _, fields in entries:
                json.loads(fields["e"])
            link.xack(STREAM, GROUP, *[entry_id for entry_id, _ in entries])
            counter.counts[0] += len(entries)

    with _over_and_over(read):
        return counter.measure(stage, "stream")


def kombu(stage: Stage) -> Sample:
    """A kombu topic exchange with one consumer."""
    counter = Counter()
    queue = Queue(KOMBU_QUEUE, Exchange(EXCHANGE, type="topic"), routing_key="bench.*")

    def took(_: Any, message: Any) -> None:
        message.ack()
        counter.counts[0] += 1

    with Connection(plain.URL) as connection, connection.Consumer(queue, callbacks=[took]):

        def drain() -> None:
            try:
                connection.drain_events(timeout=0.5)
            except (TimeoutError, redis.TimeoutError):
                return

        with _over_and_over(drain):
            sample = counter.measure(stage, "kombu")
    plain.redis_client().delete(KOMBU_QUEUE)
    return sample


ARMS: Mapping[str, Callable[[Stage], Sample]] = {
    "event to a durable handler": durable,
    "event to a live handler": live(TOPIC, 1),
    "event to a live handler, wildcard": live("bench.*", 1),
    "event to 10 live handlers": live(TOPIC, 10),
    "event to 10 live handlers, wildcard": live("bench.*", 10),
    "publish": published(1, SINGLES),
    "publish_many": published(BATCH, BATCHES),
    "match a topic": matched,
    "PUBLISH": pubsub(1),
    "PUBLISH, pattern": pubsub(1, pattern=True),
    "PUBLISH to 10": pubsub(10),
    "PUBLISH to 10, pattern": pubsub(10, pattern=True),
    "XADD and XREADGROUP": stream,
    "kombu topic exchange": kombu,
    "FastStream on a stream": lambda stage: stage.rivals.run("faststream_stream", plain.URL, str(SECONDS)),
}
