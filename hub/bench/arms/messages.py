"""Messages: sending one that nobody waits for, and working a full queue off."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from hub.bench import measure, plain
from hub.bench.figures import Sample
from hub.bench.stage import Stage
from hub.celery import app
from hub.redis_client import client

SENT, DRAINED, PATIENCE_SEC = 300, 600, 60


def submitted(stage: Stage) -> Sample:
    """A task of the hub sent to a queue that nobody reads here."""
    return _sending(stage, lambda: app.send_task("hub.control.nothing", queue="bench.unread", ignore_result=True), "bench.unread")


def sent(stage: Stage) -> Sample:
    """The same with a plain app."""
    return _sending(stage, lambda: plain.app.send_task("plain.nothing", queue="bench.unread"), "bench.unread")


def _sending(stage: Stage, once: Callable[[], object], queue: str) -> Sample:
    def work() -> int:
        for _ in range(SENT):
            once()
        return SENT

    sample = measure.rate(stage, work)
    client().delete(queue)
    plain.app.backend.client.delete(queue)
    return sample


def drained(stage: Stage) -> Sample:
    """A queue of the hub full of look-ups that nobody waits for."""
    stage.hub()
    return _draining(stage, "hub", lambda: app.send_task("hub.sagas.status", kwargs={"execution_id": "x"}, queue="hub", ignore_result=True))


def drained_plain(stage: Stage) -> Sample:
    """A queue of plain tasks that do nothing."""
    stage.plain()
    return _draining(stage, plain.QUEUE, plain.nothing_kept.delay)


def _draining(stage: Stage, queue: str, send: Callable[[], object]) -> Sample:
    redis: Any = client() if queue == "hub" else plain.app.backend.client
    for _ in range(DRAINED):
        send()
    left = int(redis.llen(queue))

    def work() -> int:
        give_up_at = time.monotonic() + PATIENCE_SEC
        while redis.llen(queue):
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"{redis.llen(queue)} messages left in {queue} after {PATIENCE_SEC} s")
            time.sleep(measure.SETTLE_SEC / 10)
        return left

    return measure.rate(stage, work)


ARMS: Mapping[str, Callable[[Stage], Sample]] = {
    "submit": submitted,
    "send_task": sent,
    "drain": drained,
    "drain plain": drained_plain,
}
