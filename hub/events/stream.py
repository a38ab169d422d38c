"""The two ways of an event through Redis: heard now by live subscribers, kept in a stream for durable ones.

``hub:live:<topic>``        channel of live subscribers
``hub:events``              stream, one JSON text ``e`` per entry
``hub:events:id:<id>``      digest of a published event; expires
``hub:events:rate:<source>:<second>``  events of one source in one second; expires
``hub:events:sender``       the relay that is sending deliveries right now; a lease
``hub:events:unsent``         claims whose messages are not in their queue yet (`unsent`)
``hub:events:relay_seen``   when a relay last gave a sign of life (`presence`)
``hub:events:read``         id up to which the relay has taken over everything; unset while nobody is durable
"""

from __future__ import annotations

from functools import cache

from redis.commands.core import Script

from hub.events import positions
from hub.redis_client import client

STREAM, READ, SENDER, LIVE = "hub:events", "hub:events:read", "hub:events:sender", "hub:live:"
ID_TTL_SEC = 900
RATE_TTL_SEC = 5

ACCEPTED, REPEATED, CONFLICT, LIMITED, FULL = "accepted", "repeated", "conflict", "limited", "full"

# One script, so that an event is either told to both kinds of subscribers or to none, and a repeated publish to
# nobody twice. A full stream gives up what the relay has read; what it has not read yet is never given up.
# KEYS: id key, rate key prefix, stream, read mark. ARGV: event, digest, channel, limit per second, length limit,
# seconds to keep a rate, seconds to remember an id.
_PUBLISH = """
local known = redis.call('GET', KEYS[1])
if known then
  if known == ARGV[2] then return 'repeated' end
  return 'conflict'
end
local rate = KEYS[2] .. redis.call('TIME')[1]
local published = redis.call('INCR', rate)
if published == 1 then redis.call('EXPIRE', rate, ARGV[6]) end
if published > tonumber(ARGV[4]) then return 'limited' end
if redis.call('XLEN', KEYS[3]) >= tonumber(ARGV[5]) then
  local read = redis.call('GET', KEYS[4])
  if read then
    redis.call('XTRIM', KEYS[3], 'MINID', read)
    if redis.call('XLEN', KEYS[3]) >= tonumber(ARGV[5]) then return 'full' end
  else
    redis.call('XTRIM', KEYS[3], 'MAXLEN', '~', ARGV[5])
  end
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[7])
redis.call('XADD', KEYS[3], '*', 'e', ARGV[1])
redis.call('PUBLISH', ARGV[3], ARGV[1])
return 'accepted'
"""


COUNT_AFTER = """
local from, count = '(' .. ARGV[1], 0
while count < tonumber(ARGV[2]) do
  local page = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 100)
  if #page == 0 then break end
  from, count = '(' .. page[#page][1], count + #page
end
return count
"""
"""How many entries come after an id, counted up to a limit and a hundred at a time."""


@cache
def publish_script() -> Script:
    """Return the script that publishes; its answer is one of the words above."""
    return client().register_script(_PUBLISH)


def publish_arguments(
    *, event_id: str, source: str, topic: str, text: str, digest: str, per_second: int, max_length: int
) -> tuple[list[str], list[str | int]]:
    """Return keys and arguments of the script for one event."""
    keys = [id_key(event_id), f"hub:events:rate:{source}:", STREAM, READ]
    return keys, [text, digest, LIVE + topic, per_second, max_length, RATE_TTL_SEC, ID_TTL_SEC]


def id_key(event_id: str) -> str:
    """Return the key under which a published event is remembered."""
    return f"hub:events:id:{event_id}"


def taken_over() -> str:
    """Return the sortable position up to which the relay has taken over everything."""
    mark = client().get(READ)
    return positions.sortable(str(mark)) if mark else ""
