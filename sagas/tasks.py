"""The tasks of the sagas: the public ones, and the links of the chains. Each finds by id and calls a service."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task

from hub.crashpoints import crash_point
from hub.public_task import PublicTask
from sagas import chain, children, engine, handover, recovery, retention, services, signals
from sagas.engine import Next
from sagas.states import Direction


class SagaTurnedBack(Exception):
    """A step ended so that the saga is undone: the link fails, and its error callback sends the compensation."""


@shared_task(name="hub.sagas.start", bind=True, base=PublicTask)
def start(
    self: Task,
    saga_name: str,
    context: dict[str, Any] | None = None,
    idempotency_key: str | None = None,
    timeout_sec: float | None = None,
    version: str | None = None,
) -> dict[str, Any]:
    return services.start(
        saga_name,
        context,
        idempotency_key=idempotency_key,
        timeout_sec=timeout_sec,
        version=version,
        message_id=self.request.id,
        correlation_id=(self.request.headers or {}).get("x-correlation-id"),
    )


@shared_task(name="hub.sagas.status", base=PublicTask)
def status(execution_id: str) -> dict[str, Any]:
    return services.status(execution_id)


@shared_task(name="hub.sagas.cancel", base=PublicTask)
def cancel(execution_id: str, reason: str = "") -> dict[str, Any]:
    return services.cancel(execution_id, reason=reason)


@shared_task(name="hub.sagas.signal", base=PublicTask)
def signal(execution_id: str, name: str, payload: Any = None) -> dict[str, Any]:
    return signals.give(execution_id, name, payload)


@shared_task(name="hub.sagas.step", bind=True, throws=(SagaTurnedBack,))
def step(self: Task, execution_id: str, index: int, direction: str) -> None:
    _follow(self, engine.perform(execution_id, index, Direction(direction), task_id=self.request.id), execution_id)


@shared_task(name="hub.sagas.undo", bind=True, throws=(SagaTurnedBack,))
def undo(self: Task, execution_id: str, index: int, direction: str) -> None:
    _follow(self, engine.perform(execution_id, index, Direction(direction), task_id=self.request.id), execution_id)


@shared_task(name="hub.sagas.begin", bind=True, throws=(SagaTurnedBack,))
def begin(self: Task, execution_id: str, index: int, direction: str) -> None:
    _follow(self, handover.begin(execution_id, index, Direction(direction)), execution_id)


@shared_task(name="hub.sagas.finish")
def finish(result: Any, execution_id: str, index: int, direction: str, epoch: int) -> None:
    handover.layer_finished(execution_id, index, Direction(direction), epoch, result)


@shared_task(name="hub.sagas.failed")
def failed(task_id: str, *, execution_id: str, index: int | None = None, epoch: int | None = None, direction: str = "") -> None:
    if index is not None and epoch is not None:
        handover.layer_failed(execution_id, index, Direction(direction), epoch, task_id)
    else:
        recovery.link_failed(execution_id, task_id)


@shared_task(name="hub.sagas.child_ended")
def child_ended(execution_id: str, index: int) -> None:
    handover.child_ended(execution_id, index)


@shared_task(name="hub.sagas.cancel_child")
def cancel_child(execution_id: str, index: int) -> None:
    children.cancel(execution_id, index)


@shared_task(name="hub.control.sweep_sagas", ignore_result=True)
def sweep_sagas() -> None:
    recovery.sweep()


@shared_task(name="hub.control.prune_sagas", ignore_result=True)
def prune_sagas() -> None:
    retention.prune()


def _follow(task: Task, follows: Next, execution_id: str) -> None:
    crash_point("link.after", execution_id)
    if follows is Next.TURNED_BACK:
        raise SagaTurnedBack(execution_id)
    if follows is Next.GO_ON:
        chain.pass_on(task.request, execution_id)
    else:
        chain.end(task.request)  # the rows say who goes on
