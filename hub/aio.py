"""The bridge from the async faces to the sync services."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async

P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `func` in a worker thread and give its database connection back afterwards.

    Threads of the pool come and go, so a connection kept in one would stay open unseen.
    """
    return await sync_to_async(_and_close, thread_sensitive=False)(func, *args, **kwargs)


def _and_close(func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    from django.db import connections

    try:
        return func(*args, **kwargs)
    finally:
        connections.close_all()
