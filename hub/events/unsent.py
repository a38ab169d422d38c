"""Claims whose messages are not in their queue yet: who dies between the two leaves the claim here, and it is given back.

Without it, a delivery that nobody ever sent would wait for its subscriber's whole time limit, and lose an attempt by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from hub import broker
from hub.broker import Letter
from hub.redis_client import client

KEY = "hub:events:unsent"
LOST_SEC = 5.0
"""Who has not sent by then is taken to have died. If it did not, it sends nothing any more, for its note is gone."""


def begin(*, now: datetime) -> str:
    """Return a new claim that is noted here until it is sent."""
    claim = uuid4().hex
    client().zadd(KEY, {claim: now.timestamp()})
    return claim


def send(claim: str, letters: Sequence[Letter]) -> bool:
    """Put the messages of a claim into their queue, unless it was given back meanwhile."""
    if letters:
        return broker.post_if_noted(letters, notes=KEY, note=claim)
    return bool(client().zrem(KEY, claim))


def take_lost(*, now: datetime) -> list[str]:
    """Return the claims that were never sent; from now on nobody sends them."""
    old: list[str] = client().zrangebyscore(KEY, "-inf", now.timestamp() - LOST_SEC)  # type: ignore[assignment]
    return [claim for claim in old if client().zrem(KEY, claim)]
