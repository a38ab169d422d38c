"""How fast events go, each as a ratio to bare redis-py (or kombu) doing the like in the same run.

    python -m hub.bench.events --seconds 3 --rounds 3

Publisher and relay are processes of their own, subscribers live in this one; a rate is what all of them handled in a
second. Envelopes of about 250 bytes are encoded and decoded on both sides. It uses the Redis and the database of the
settings; topics begin with ``bench.``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from hub.setup import ensure_django

TOPIC, CHANNEL, STREAM, GROUP, EXCHANGE = "bench.created", "bench:raw", "bench:stream", "bench", "bench-kombu"
FIRST_EVENT_SEC = 60.0
UNLIMITED = {"HUB_EVENT_MAX_PER_SEC": "100000000"}
RELAY = "import threading; from hub.events import relay; relay.run(threading.Event())"

Rate = Callable[[float], float]
"""Takes seconds to measure for, gives events per second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One comparison: `ours(seconds)` and `rival(seconds)` are rates, and their ratio should reach `target`."""

    id: str
    what: str
    target: float
    ours: Rate
    rival: Rate


class Counter:
    """How many events each of some subscribers handled; the slowest counts."""

    def __init__(self, subscribers: int = 1) -> None:
        self.counts = [0] * subscribers

    def handler(self, place: int) -> Callable[[Any], Any]:
        """Return an async handler that counts for one subscriber."""

        async def handle(_: Any) -> None:
            self.counts[place] += 1

        return handle

    def rate(self, seconds: float) -> float:
        """Return events per second from the first event on."""
        give_up_at = time.monotonic() + FIRST_EVENT_SEC
        while not min(self.counts):
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"no event arrived within {FIRST_EVENT_SEC:g} s")
            time.sleep(0.01)
        before, begun = min(self.counts), time.perf_counter()
        time.sleep(seconds)
        return (min(self.counts) - before) / (time.perf_counter() - begun)


def envelope(number: int) -> str:
    """Return about 250 bytes of JSON, as a bare publisher would make them."""
    return json.dumps({"id": f"{number:032d}", "topic": TOPIC, "type": "created", "data": {"agent_id": "agent-123", "note": "x" * 130}})


# Publishers: each runs in a process of its own until it is ended.


def _publish_ours() -> None:
    from hub.events import bus
    from hub.events.messages import EventMessage

    for _ in itertools.count():
        bus.publish(EventMessage.create(TOPIC, "created", {"agent_id": "agent-123"}, source_service="bench"))


def _publish_pubsub() -> None:
    from hub.redis_client import client

    for number in itertools.count():
        client().publish(CHANNEL, envelope(number))


def _publish_stream() -> None:
    from hub.redis_client import client

    for number in itertools.count():
        client().xadd(STREAM, {"e": envelope(number)}, maxlen=100_000, approximate=True)


def _publish_kombu() -> None:
    from django.conf import settings
    from kombu import Connection, Exchange

    with Connection(settings.REDIS_URL) as connection:
        producer = connection.Producer(exchange=Exchange(EXCHANGE, type="topic"), routing_key=TOPIC)
        for number in itertools.count():
            producer.publish(json.loads(envelope(number)))


PUBLISHERS = {"ours": _publish_ours, "pubsub": _publish_pubsub, "stream": _publish_stream, "kombu": _publish_kombu}


@contextmanager
def _process(*arguments: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, *arguments], env=os.environ | UNLIMITED)  # noqa: S603
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


def _publisher(name: str) -> Any:
    return _process("-m", "hub.bench.events", "--publish", name)


# Ours


@contextmanager
def _event_loop() -> Iterator[Callable[[Any], Any]]:
    """Give a function that runs a coroutine in an event loop of another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(FIRST_EVENT_SEC)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def live(pattern: str, subscribers: int) -> Rate:
    """Return a measure of `publish` to live handlers of one process."""
    return lambda seconds: _to_handlers(seconds, pattern, subscribers, name=None)


def durable(seconds: float) -> float:
    """Measure `publish` through the stream, a relay and the database to a durable handler."""
    from hub.events import subscriptions

    try:
        with _process("-c", f"from hub.setup import ensure_django; ensure_django(); {RELAY}"):
            _wait_for_relay()
            return _to_handlers(seconds, TOPIC, 1, name="bench-durable")
    finally:
        subscriptions.unsubscribe("bench-durable")


def _wait_for_relay() -> None:
    """Return when the relay has passed what was published before: it is not what is measured."""
    from hub.events import relay

    relay.ensure_group()
    give_up_at = time.monotonic() + FIRST_EVENT_SEC
    while relay.behind()[0] and time.monotonic() < give_up_at:
        time.sleep(0.05)


def _to_handlers(seconds: float, pattern: str, subscribers: int, *, name: str | None) -> float:
    from hub.events.face import EventBus

    async def make() -> EventBus:
        return EventBus()

    counter = Counter(subscribers)
    with _event_loop() as run:
        bus = run(make())
        for place in range(subscribers):
            run(bus.subscribe(pattern, counter.handler(place), durable=name is not None, name=name))
        try:
            with _publisher("ours"):
                return counter.rate(seconds)
        finally:
            run(bus.stop())


def _publishing(size: int) -> Rate:
    """Return a measure of publishing alone, one by one or `size` in one round trip."""

    def measure(seconds: float) -> float:
        from hub.events import bus
        from hub.events.messages import EventMessage

        count, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            # The limit is per source and second: this measures the bus, not the limit.
            events = [EventMessage.create(TOPIC, "created", {"n": n}, source_service=f"bench{(count + n) % 97}") for n in range(size)]
            count += len(bus.publish_many(events) if size > 1 else [bus.publish(events[0])])
        return count / (time.perf_counter() - begun)

    return measure


def matching(seconds: float, *, patterns: int = 1_000) -> float:
    """Measure how many topics a second find their subscriptions among `patterns` wildcard patterns, none remembered."""
    from hub.events.topics import Matcher

    matcher: Matcher[int] = Matcher()
    for number in range(patterns):
        matcher.add((f"agent.*.n{number}", f"agent.a{number}.**", f"order.n{number}.*")[number % 3], number)
    matcher.REMEMBERED = 0
    topics = [f"agent.a{number}.n{number + 1}" for number in range(1_000)]
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for topic in topics:
            matcher.match(topic)
        count += len(topics)
    return count / (time.perf_counter() - begun)


# Rivals


def pubsub(pattern: bool, subscribers: int) -> Rate:
    """Return a measure of bare PUBLISH to SUBSCRIBE or PSUBSCRIBE, one thread per subscriber."""

    def measure(seconds: float) -> float:
        counter = Counter(subscribers)
        with ExitStack() as stack:
            for place in range(subscribers):
                stack.enter_context(_hearing(counter, place, pattern=pattern))
            stack.enter_context(_publisher("pubsub"))
            return counter.rate(seconds)

    return measure


@contextmanager
def _hearing(counter: Counter, place: int, *, pattern: bool) -> Iterator[None]:
    from hub.redis_client import client

    heard: Any = client().pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    if pattern:
        heard.psubscribe(CHANNEL[:-3] + "*")
    else:
        heard.subscribe(CHANNEL)
    stop = threading.Event()

    def listen() -> None:
        while not stop.is_set():
            message = heard.get_message(timeout=0.5)
            if message:
                json.loads(message["data"])
                counter.counts[place] += 1

    with _in_thread(listen, stop):
        yield
    heard.close()


@contextmanager
def _in_thread(work: Callable[[], None], stop: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def stream(seconds: float) -> float:
    """Measure bare XADD to XREADGROUP of 100 and XACK."""
    from hub.redis_client import client

    counter, stop, link = Counter(), threading.Event(), client()
    link.delete(STREAM)
    link.xgroup_create(STREAM, GROUP, id="0", mkstream=True)

    def read() -> None:
        while not stop.is_set():
            answer: Any = link.xreadgroup(GROUP, "one", {STREAM: ">"}, count=100, block=500)
            for _, entries in answer or []:
                for _, fields in entries:
                    json.loads(fields["e"])
                link.xack(STREAM, GROUP, *[entry_id for entry_id, _ in entries])
                counter.counts[0] += len(entries)

    with _in_thread(read, stop), _publisher("stream"):
        return counter.rate(seconds)


def kombu(seconds: float) -> float:
    """Measure a kombu topic exchange with one consumer."""
    from django.conf import settings
    from kombu import Connection, Exchange, Queue

    counter, stop = Counter(), threading.Event()
    queue = Queue("bench-kombu", Exchange(EXCHANGE, type="topic"), routing_key="bench.*")

    def took(_: Any, message: Any) -> None:
        message.ack()
        counter.counts[0] += 1

    def consume() -> None:
        with Connection(settings.REDIS_URL) as connection, connection.Consumer(queue, callbacks=[took]):
            while not stop.is_set():
                try:
                    connection.drain_events(timeout=0.5)
                except (TimeoutError, redis.TimeoutError):
                    continue

    with _in_thread(consume, stop), _publisher("kombu"):
        return counter.rate(seconds)


ROWS = (
    Row(id="live-exact-1", what="publish to 1 live handler / PUBLISH", target=0.6, ours=live(TOPIC, 1), rival=pubsub(False, 1)),
    Row(id="live-wild-1", what="the same by wildcard / PSUBSCRIBE", target=0.6, ours=live("bench.*", 1), rival=pubsub(True, 1)),
    Row(id="live-exact-10", what="publish to 10 live handlers / 10 subscribers", target=0.6, ours=live(TOPIC, 10), rival=pubsub(False, 10)),
    Row(id="live-wild-10", what="the same by wildcard / PSUBSCRIBE", target=0.6, ours=live("bench.*", 10), rival=pubsub(True, 10)),
    Row(id="E1", what="durable event, publish to handler / PUBLISH", target=0.6, ours=durable, rival=pubsub(False, 1)),
    Row(id="durable-stream", what="the same / XADD and XREADGROUP", target=0.6, ours=durable, rival=stream),
    Row(id="E2", what="the same / kombu topic exchange", target=3, ours=durable, rival=kombu),
    Row(id="E3", what="publish_many of 50 / publish", target=4, ours=_publishing(50), rival=_publishing(1)),
    Row(id="E4", what="10 live handlers of one process / 1", target=0.6, ours=live(TOPIC, 10), rival=live(TOPIC, 1)),
    Row(id="E5", what="wildcard matches a second, 1,000 patterns / 50,000", target=1, ours=matching, rival=lambda _: 50_000.0),
)


def compare(row: Row, *, seconds: float, rounds: int) -> dict[str, Any]:
    """Return medians of interleaved rounds: both rates and their ratio within a round."""
    pairs = [(row.ours(seconds), row.rival(seconds)) for _ in range(rounds)]
    ratios = [ours / rival for ours, rival in pairs if rival]
    return {
        "id": row.id,
        "what": row.what,
        "ours": round(statistics.median(ours for ours, _ in pairs)),
        "rival": round(statistics.median(rival for _, rival in pairs)),
        "ratio": round(statistics.median(ratios), 2),
        "target": row.target,
    }


def main() -> None:
    """Print the table, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="ids of rows")
    parser.add_argument("--publish", choices=PUBLISHERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    ensure_django()
    if options.publish:
        PUBLISHERS[options.publish]()
    for row in ROWS:
        if not options.only or row.id in options.only:
            found = compare(row, seconds=options.seconds, rounds=options.rounds)
            print("{id:16} {ours:>8}/s {rival:>8}/s  {ratio:>6} (target {target})  {what}".format(**found), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
