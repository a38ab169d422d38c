"""What a team has without the hub: a plain Celery app. Its broker is named by ``BENCH_PLAIN_REDIS_URL``."""

from __future__ import annotations

import os
import time
from typing import Any

import redis
import requests
from celery import Celery

URL = os.environ.get("BENCH_PLAIN_REDIS_URL", "redis://127.0.0.1:6379/1")
QUEUE = "plain"

# Not the current app of a process that measures: there the hub's own is.
app = Celery("plain", broker=URL, backend=URL, set_as_current=False)
app.conf.update(task_default_queue=QUEUE, task_serializer="json", broker_connection_retry_on_startup=True)
_session = requests.Session()


def redis_client() -> redis.Redis:
    """Return a client as anybody would make it."""
    return redis.Redis.from_url(URL, decode_responses=True)


@app.task(name="plain.nothing")
def nothing(*_: Any) -> None:
    """Do nothing."""


@app.task(name="plain.nothing_kept", ignore_result=True)
def nothing_kept(*_: Any) -> None:
    """Do nothing, and keep no result."""


@app.task(name="plain.ring", ignore_result=True)
def ring(*_: Any, key: str) -> None:
    """Tell the caller by a list that the work before is done."""
    app.backend.client.lpush(key, "1")


@app.task(name="plain.get")
def get(url: str) -> Any:
    """Fetch a page."""
    return _session.get(url, timeout=10).json()


@app.task(name="plain.wait")
def wait(seconds: float) -> None:
    """Take that long."""
    time.sleep(seconds)
