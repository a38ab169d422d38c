"""Callers that start sagas as a layer does, by message, and ask again under the same key until they are told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from celery import Celery
from kombu.exceptions import KombuError
from redis import Redis
from redis.exceptions import RedisError

from tests.sagas.history import Submission

PATIENCE_SEC, MOST_PATIENCE_SEC = 5.0, 60.0
"""How long a caller waits for its answer before it asks again: twice as long each time, or callers alone would fill the queues."""
AWAY = (RedisError, KombuError, OSError)


@dataclass(slots=True)
class Start:
    """One saga that somebody wants: asked for `asks` times so far, told its id once."""

    key: str
    saga_name: str
    context: dict[str, Any]
    asked_at: float = float("-inf")
    asks: int = 0
    execution_id: str = ""
    message_id: str = ""

    def is_to_be_asked(self) -> bool:
        """Tell whether the caller has waited long enough for an answer."""
        patience_sec = min(PATIENCE_SEC * 2 ** max(0, self.asks - 1), MOST_PATIENCE_SEC)
        return not self.execution_id and time.monotonic() - self.asked_at > patience_sec


class Callers:
    """All starts of one scenario.

    Answers are read from Redis by key: Celery's own listener for results gives up for good when Redis restarts.
    """

    def __init__(self, redis_url: str) -> None:
        self.starts: list[Start] = []
        self._app = Celery(broker=redis_url, set_as_current=False)
        self._app.conf.update(task_publish_retry_policy={"max_retries": 0}, broker_transport_options={"socket_timeout": 3})
        self._redis = Redis.from_url(redis_url, socket_timeout=3)

    def want(self, saga_name: str, context: dict[str, Any]) -> str:
        """Note a saga to be started; `tick` asks for it."""
        key = f"order-{len(self.starts) + 1}"
        self.starts.append(Start(key, saga_name, context))
        return key

    def tick(self) -> None:
        """Read answers, and ask (again) for what has none in time."""
        for start in self.unanswered():
            self._read(start)
            if start.is_to_be_asked():
                self._ask(start)

    def unanswered(self) -> list[Start]:
        """Return the starts that nobody confirmed yet."""
        return [start for start in self.starts if not start.execution_id]

    def submissions(self) -> Iterator[Submission]:
        """Return what each caller was told, for the checker."""
        for start in self.starts:
            yield Submission(key=start.key, outcome="ok" if start.execution_id else "info")

    def _read(self, start: Start) -> None:
        with suppress(*AWAY):
            stored = self._redis.get(f"celery-task-meta-{start.message_id}")
            answer = json.loads(stored) if stored else {}
            if answer.get("status") == "SUCCESS":
                start.execution_id = answer["result"]["execution_id"]

    def _ask(self, start: Start) -> None:
        kwargs = {"saga_name": start.saga_name, "context": start.context, "idempotency_key": start.key}
        start.asked_at, start.asks = time.monotonic(), start.asks + 1
        with suppress(*AWAY):
            start.message_id = self._app.send_task("hub.sagas.start", kwargs=kwargs, queue="hub").id
