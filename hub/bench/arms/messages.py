"""Messages: sending one that nobody waits for, and working a full queue off."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from hub.bench import measure, noop, plain
from hub.bench.figures import Sample
from hub.bench.stage import Stage
from hub.celery import PUBLIC, app
from hub.redis_client import client
from hub.sending import submit, submit_many

SENT, TOGETHER, DRAINED, PATIENCE_SEC = 300, 50, 600, 60
UNREAD = "bench.unread"


def submitted(stage: Stage) -> Sample:
    """A task sent by `hub.submit` to a queue that nobody reads here."""
    return _sending(stage, lambda: submit("bench.nothing", queue=UNREAD))


def submitted_together(stage: Stage) -> Sample:
    """The same, fifty at a time by `hub.submit_many`."""
    return _sending(stage, lambda: submit_many("bench.nothing", [{}] * TOGETHER, queue=UNREAD), at_once=TOGETHER)


def sent_by_the_hub(stage: Stage) -> Sample:
    """The same by the hub's own `send_task`, which announces each task to Flower."""
    return _sending(stage, lambda: app.send_task("bench.nothing", queue=UNREAD, ignore_result=True))


def sent(stage: Stage) -> Sample:
    """The same with a plain app."""
    return _sending(stage, lambda: plain.app.send_task("plain.nothing", queue=UNREAD))


def _sending(stage: Stage, once: Callable[[], object], *, at_once: int = 1) -> Sample:
    def work() -> int:
        for _ in range(SENT):
            once()
        return SENT * at_once

    sample = measure.rate(stage, work)
    client().delete(UNREAD)
    plain.app.backend.client.delete(UNREAD)
    return sample


def drained(stage: Stage) -> Sample:
    """A queue of the hub full of tasks that do nothing, on the hub's worker with all that it does around a task."""
    stage.hub()
    return _draining(stage, PUBLIC, lambda: app.send_task(noop.NAME, queue=PUBLIC, ignore_result=True))


def drained_plain(stage: Stage) -> Sample:
    """A queue of plain tasks that do nothing."""
    stage.plain()
    return _draining(stage, plain.QUEUE, plain.nothing_kept.delay)


def _draining(stage: Stage, queue: str, send: Callable[[], object]) -> Sample:
    redis: Any = client() if queue == PUBLIC else plain.app.backend.client
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
    "submit_many": submitted_together,
    "the hub's send_task": sent_by_the_hub,
    "send_task": sent,
    "drain": drained,
    "drain plain": drained_plain,
}
