"""The bridge from the async faces to the sync services.

The hub's own short work and what waits for others have threads of their own: six slow functions of a caller would otherwise
take all that an event loop has.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async

P = ParamSpec("P")
R = TypeVar("R")

OWN_THREADS = 16
WAITING_THREADS = 128


async def in_thread(func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run short work of the hub in a worker thread and give its database connection back afterwards.

    Threads of the pool come and go, so a connection kept in one would stay open unseen.
    """
    return await sync_to_async(_and_close, thread_sensitive=False, executor=_threads("hub", OWN_THREADS, os.getpid()))(
        func, *args, **kwargs
    )


async def in_waiting_thread(func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Do the same with what may wait long: calls of other services, and functions that are not the hub's."""
    return await sync_to_async(_and_close, thread_sensitive=False, executor=_threads("hub-waiting", WAITING_THREADS, os.getpid()))(
        func, *args, **kwargs
    )


@lru_cache(maxsize=4)
def _threads(name: str, count: int, pid: int) -> ThreadPoolExecutor:
    # Threads do not survive a fork, so each process has its own.
    return ThreadPoolExecutor(count, thread_name_prefix=name)


def _and_close(func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    from django.db import connections

    try:
        return func(*args, **kwargs)
    finally:
        connections.close_all()
