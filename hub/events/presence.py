"""A relay's sign of life, in Redis: with no relay, durable events wait and nothing else says so.

By Redis' clock: relays and those who ask share no other.
"""

from __future__ import annotations

from hub.redis_client import client

KEY = "hub:events:relay_seen"
FRESH_SEC = 60.0
"""A relay gives one every 15 s; after three that are missing nobody relays, or not to the end of a round."""
_REMEMBERED_SEC = 30 * 86_400

_BEAT = "redis.call('SET', KEYS[1], redis.call('TIME')[1], 'EX', ARGV[1])"


def beat() -> None:
    """Say that a relay has just done a round."""
    client().eval(_BEAT, 1, KEY, str(_REMEMBERED_SEC))


def seen_sec_ago() -> float | None:
    """Return how many seconds ago a relay was last seen, None if not within a month; `redis.RedisError` while Redis is away."""
    with client().pipeline(transaction=False) as pipe:
        pipe.get(KEY)
        pipe.time()
        seen, (now, _) = pipe.execute()
    return None if seen is None else max(0.0, now - float(seen))


def is_fresh(sec_ago: float | None) -> bool:
    """Tell whether a relay that was seen so long ago is taken to live."""
    return sec_ago is not None and sec_ago <= FRESH_SEC
