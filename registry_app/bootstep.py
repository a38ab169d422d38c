"""A Celery worker that registers itself: one line in the layer, nothing of Django.

    app = Celery("l05", broker=...)
    app.steps["worker"].add(registered_at_hub("L05_planning", "0.2.0"))

When the worker is ready it registers as an instance of its own (``celery://<queue>/<node>``) with its queues and task
names, beats while it lives, and leaves on a warm shutdown. One that is killed misses its beats, is unhealthy after three,
and leaves the registry by itself after `MISSED_BEATS_TO_LEAVE`. The hub must be on the same broker.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from celery import bootsteps
from celery.signals import worker_ready
from kombu.exceptions import OperationalError

from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.values import MAX_LABELS, ServiceInfo, is_label

log = logging.getLogger(__name__)

HUB_QUEUE = "hub"
BEAT_SEC = 10.0
MISSED_BEATS_TO_LEAVE = 60
BEATS_PER_REGISTRATION = 30
"""A registration is said again now and then, so that a hub which lost its database knows its layers again by itself."""


def registered_at_hub(
    service_name: str,
    service_version: str,
    *,
    owner: str | None = None,
    endpoint: str | None = None,
    health_check: HealthCheck | None = None,
    metadata: Mapping[str, Any] | None = None,
    tags: Iterable[str] | None = None,
    beat_sec: float = BEAT_SEC,
) -> type[bootsteps.StartStopStep]:
    """Return the step for ``app.steps["worker"].add``; what is wrong with name or version is raised here, at import.

    `endpoint` is for a layer that also answers HTTP; without it the instance takes tasks only.
    """
    check = health_check or HealthCheck(HealthCheckType.TTL, interval_sec=beat_sec, deregister_after=MISSED_BEATS_TO_LEAVE)

    def describe(queues: list[str], tasks: list[str], node: str) -> ServiceInfo:
        return ServiceInfo.create(
            service_name,
            service_version,
            endpoint or f"celery://{queues[0]}/{node}",
            check,
            metadata,
            capabilities=_as_labels(tasks),
            tags=[*(tags or ()), *_as_labels(queues)][:MAX_LABELS],
        )

    describe(["celery"], [], "node@host")
    return type("RegisteredAtHub", (_RegisteredAtHub,), {"describe": staticmethod(describe), "owner": owner, "beat_sec": beat_sec})


def _as_labels(names: list[str]) -> list[str]:
    """Leave out what the registry would refuse, such as the long names of tasks in deep modules: Celery sets no limit."""
    return [name for name in names if is_label(name)][:MAX_LABELS]


class _RegisteredAtHub(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    requires = {"celery.worker.components:Timer"}
    describe: Any
    owner: str | None
    beat_sec: float

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._beats = 0
        self._timer: Any = None
        # A worker that takes the place of this one under the same name counts from a later moment.
        self._generation = int(time.time() * 1000)

    def start(self, worker: Any) -> None:
        """Wait until the worker really consumes; only then it can be said to be there."""
        worker_ready.connect(lambda **_: self._begin(worker), weak=False)

    def _begin(self, worker: Any) -> None:
        self._beat(worker)
        self._timer = worker.timer.call_repeatedly(self.beat_sec, self._beat, (worker,))

    def _beat(self, worker: Any) -> None:
        info = self._info(worker)
        if self._beats:
            self._send(worker, "hub.registry.heartbeat", service_id=info.service_id)
        if self._beats % BEATS_PER_REGISTRATION == 0 and not self._send(worker, "hub.registry.register", service=info.to_dict()):
            return
        self._beats += 1

    def stop(self, worker: Any) -> None:
        """Leave on a warm shutdown, before the pool waits for the last tasks."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        self._send(worker, "hub.registry.deregister", service_id=self._info(worker).service_id)

    def terminate(self, worker: Any) -> None:
        """A cold shutdown says nothing: the missing beats will."""

    def _info(self, worker: Any) -> ServiceInfo:
        queues = list(worker.app.amqp.queues.consume_from) or [worker.app.conf.task_default_queue]
        tasks = sorted(name for name in worker.app.tasks if not name.startswith("celery."))
        info: ServiceInfo = self.describe(queues, tasks, re.sub(r"[^A-Za-z0-9_.@-]", "-", worker.hostname))
        return info

    def _send(self, worker: Any, task: str, **kwargs: Any) -> bool:
        said = {**kwargs, "owner": self.owner, "generation": self._generation}
        try:
            worker.app.send_task(task, kwargs=said, queue=HUB_QUEUE, retry=False, ignore_result=True)
        except (OperationalError, OSError) as exc:
            # The next beat says it again; a worker must not stumble over its own registration.
            log.warning("the hub could not be told", extra={"task": task, "error": type(exc).__name__})
            return False
        return True
