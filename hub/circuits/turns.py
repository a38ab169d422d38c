"""Whose turn it is while a closed breaker sees failures: calls under way report before whoever just failed calls again.

Of many processes that call a dead service at once, the first to fail would otherwise call it again before the others have
said how they fared, and reach it once more for each. So its next call waits for as long as the failed one took, within
limits: a call that began before it failed is over by then. The wait ends early with the news that decide, open or well
again, and it is never a refusal. A process without a failure of its own waits for nothing.
"""

from __future__ import annotations

import time

from hub.circuits.fleet import Copy, Fleet
from hub.circuits.policy import CircuitState

SHORTEST_SEC, LONGEST_SEC = 0.05, 0.25
"""A refused connection fails in less time than a busy machine needs to start the calls that were begun with it."""
LOOK_SEC = 0.003


def failed(copy: Copy, duration_sec: float) -> None:
    """Note that a call of this process failed after so long: the next one waits."""
    with copy.lock:
        copy.permit = None
        copy.waits_until = time.monotonic() + min(max(duration_sec, SHORTEST_SEC), LONGEST_SEC)


def is_to_wait(copy: Copy) -> bool:
    """Tell whether a call would wait now."""
    snapshot = copy.snapshot
    return time.monotonic() < copy.waits_until and snapshot.state is CircuitState.CLOSED and not snapshot.is_quiet


def wait(here: Fleet, copy: Copy, *, at_most_sec: float) -> bool:
    """Let others report first; return whether that took a wait, after which only Redis knows how the breaker stands."""
    if not is_to_wait(copy):
        return False
    give_up_at = time.monotonic() + at_most_sec
    while is_to_wait(copy) and (left := give_up_at - time.monotonic()) > 0:
        time.sleep(min(LOOK_SEC, left))
        here.hear()
    return True
