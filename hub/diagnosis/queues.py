"""What a queue holds and who reads it, as far as Redis says."""

from __future__ import annotations

import redis

from hub.diagnosis.facts import QueueFacts
from hub.telemetry import queues, readers


def facts_of(name: str) -> QueueFacts | None:
    """Return what is known of a queue; None while Redis is away."""
    try:
        known = readers.known()
        [queue] = queues.look([name]) or [queues.Queue(name=name, ready=0)]
    except redis.RedisError:
        return None
    count = None if known.asked_sec_ago is None else len(known.of(name))
    return QueueFacts(name=name, ready=queue.ready, readers=count, last_read_at=known.last_read.get(name))
