"""Threads for a broadcast, kept for the next one: to start one costs as much as to send a request."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.conf import settings

_idle: deque[ThreadPoolExecutor] = deque(maxlen=2)
"""For two broadcasts at once; the threads of what falls out end by themselves."""

os.register_at_fork(after_in_child=_idle.clear)


@contextmanager
def lent(futures: Collection[Future[Any]]) -> Iterator[ThreadPoolExecutor]:
    """Lend threads for as many calls as a broadcast may have targets; the caller puts into `futures` what it asks of them.

    They are kept if all calls have ended. A thread that still hangs ends with its call, and nobody waits for it.
    """
    try:
        pool = _idle.pop()
    except IndexError:
        pool = ThreadPoolExecutor(settings.HUB.broadcast_max_targets, thread_name_prefix="hub-broadcast")
    try:
        yield pool
    finally:
        if all(future.done() for future in futures):
            _idle.append(pool)
        else:
            pool.shutdown(wait=False, cancel_futures=True)
