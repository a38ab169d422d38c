"""Who publishes while the bench counts what arrives; each in a process of its own. Run: ``python -m hub.bench.publishers NAME``.

Envelopes have about 250 bytes and are made anew for each event, on every side.
"""

from __future__ import annotations

import itertools
import json
import sys

from hub.bench import plain

TOPIC, CHANNEL, STREAM, EXCHANGE = "bench.created", "bench:raw", "bench:stream", "bench-kombu"
_PAYLOAD = {"agent_id": "agent-123", "note": "x" * 130}


def envelope(number: int) -> str:
    """Return about 250 bytes of JSON, as a bare publisher would make them."""
    return json.dumps({"id": f"{number:032d}", "topic": TOPIC, "type": "created", "data": _PAYLOAD})


def _ours() -> None:
    from hub.setup import ensure_django

    ensure_django()
    from hub.events import bus
    from hub.events.messages import EventMessage

    for _ in itertools.count():
        bus.publish(EventMessage.create(TOPIC, "created", {"agent_id": "agent-123"}, source_service="bench"))


def _pubsub() -> None:
    link = plain.redis_client()
    for number in itertools.count():
        link.publish(CHANNEL, envelope(number))


def _stream() -> None:
    link = plain.redis_client()
    for number in itertools.count():
        link.xadd(STREAM, {"e": envelope(number)}, maxlen=100_000, approximate=True)


def _kombu() -> None:
    from kombu import Connection, Exchange

    with Connection(plain.URL) as connection:
        producer = connection.Producer(exchange=Exchange(EXCHANGE, type="topic"), routing_key=TOPIC)
        for number in itertools.count():
            producer.publish(json.loads(envelope(number)))


PUBLISHERS = {"ours": _ours, "pubsub": _pubsub, "stream": _stream, "kombu": _kombu}

if __name__ == "__main__":
    PUBLISHERS[sys.argv[1]]()
