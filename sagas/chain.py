"""The rest of a saga as a Celery chain: the one place that sends saga messages.

Consecutive steps are linked tasks, each with nothing but ids. A step in a layer's own queue is three links, ``begin``,
the layer's task, ``finish``; its arguments are known only when it begins, so a chain ends at a ``begin``, which sends
what follows. The chain is transport: a lost, doubled or late message changes only how soon the rows move on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import chain, uuid
from celery.canvas import Signature
from django.conf import settings
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from hub import broker
from hub.broker import Letter
from hub.celery import SAGAS, app
from hub.crashpoints import crash_point
from hub.redis_client import client
from hub.telemetry import conventions, metrics, tracing
from sagas import plan
from sagas.spec import SagaSpec, StepSpec
from sagas.states import Direction, RunState

log = logging.getLogger(__name__)

HARD_LIMIT_MARGIN_SEC = 2.0
"""A function that survives its own limit is killed with its process this much later, and before its lease ends."""


def send_rest(execution_id: str, spec: SagaSpec, run: RunState, *, now: float) -> bool:
    """Send the rest of the chain from here, if work lies ready; return whether a message went out.

    A broker that is away is not an error: the row says what must be sent, and the sweeper sends it again.
    """
    work = plan.work(spec, run, now=now)
    if work is None or run.owner_until is not None:  # a run that its caller drives needs no messages
        return False
    # A sweeper, an operator or another run may send this: its messages still belong to the run's own trace.
    with tracing.rejoined(f"resume {spec.saga_name}", run.traceparent, attributes={conventions.SAGA_EXECUTION_ID: execution_id}):
        sent = [publish(links(execution_id, spec, branch, work.direction), execution_id) for branch in work.branches]
    return any(sent)


def backlog() -> int:
    """Return how many saga messages wait in the queue; 0 while Redis is away."""
    try:
        waiting: Any = client().llen(SAGAS)
        return int(waiting)
    except (RedisError, OSError):
        return 0


def send_control(name: str, execution_id: str, **kwargs: Any) -> None:
    """Send one of the hub's own saga tasks that is not a link, such as word from a child."""
    given = {"execution_id": execution_id, **kwargs}
    publish([app.signature(f"hub.sagas.{name}", kwargs=given, immutable=True, queue=SAGAS, ignore_result=True)], execution_id)


def publish(signatures: list[Signature], execution_id: str) -> bool:
    crash_point("chain.before_send", execution_id)
    if not _post(lambda: broker.chained(signatures), execution_id):
        return False
    crash_point("chain.after_send", execution_id)
    return True


def pass_on(request: Any, execution_id: str) -> None:
    """Send the next link of a task's chain, if it has one: what Celery would do, at a fraction of what that costs."""
    if request.chain:
        _post(lambda: broker.following(request), execution_id)
    end(request)


def end(request: Any) -> None:
    """Let no link follow a task: a loser of the claim, a step that waits, or a link whose next one is on its way."""
    request.chain = None


def _post(make: Callable[[], Letter], execution_id: str) -> bool:
    try:
        broker.post([make()])
    except (OperationalError, RedisError, OSError) as exc:
        log.warning("saga message not sent, the sweeper will", extra={"execution_id": execution_id, "error": str(exc)})
        metrics.increment("hub_saga_sends_failed_total")
        return False
    return True


def links(execution_id: str, spec: SagaSpec, steps: tuple[int, ...], direction: Direction) -> list[Signature]:
    """Return the tasks for these steps, up to and including the first that hands over to a layer."""
    signatures = []
    for index in steps:
        signatures.append(_link(execution_id, spec, index, direction))
        if spec.inline:
            break
        if is_handed_over(spec.steps[index], direction):
            break
    return signatures


def is_handed_over(step: StepSpec, direction: Direction) -> bool:
    """Tell whether others run it, a layer or a child saga: it begins here, and its end is told later."""
    call = step.call(direction)
    return call is not None and call.kind in ("task", "saga")


def _link(execution_id: str, spec: SagaSpec, index: int, direction: Direction) -> Signature:
    if is_handed_over(spec.steps[index], direction):
        return _internal("begin", execution_id, index, direction)
    together = spec.steps if spec.inline else (spec.steps[index],)
    hard_limit = sum(step.limit_sec(direction) for step in together) + HARD_LIMIT_MARGIN_SEC
    name = "step" if direction is Direction.DO else "undo"
    return _internal(name, execution_id, index, direction).set(time_limit=hard_limit)


def _internal(name: str, execution_id: str, index: int, direction: Direction) -> Signature:
    kwargs = {"execution_id": execution_id, "index": index, "direction": direction.value}
    signature: Signature = app.signature(f"hub.sagas.{name}", kwargs=kwargs, immutable=True, queue=SAGAS, ignore_result=True)
    signature.link_error(on_failure(execution_id))
    return signature


def on_failure(execution_id: str, **attempt: Any) -> Signature:
    """Return the error callback: a task with one argument, so that Celery sends it as a message (never inline)."""
    kwargs = {"execution_id": execution_id, **attempt}
    signature: Signature = app.signature("hub.sagas.failed", kwargs=kwargs, queue=SAGAS, ignore_result=True)
    return signature


def hand_over(
    execution_id: str,
    step: StepSpec,
    index: int,
    direction: Direction,
    epoch: int,
    kwargs: dict[str, Any],
    headers: dict[str, str],
    *,
    limit_sec: float,
) -> str:
    """Send a layer's task and the ``finish`` that takes its result; return its id, empty when the broker did not confirm it.

    `limit_sec` is what the attempt was granted: less than the step's own limit where the saga's deadline is nearer.
    """
    call = step.call(direction)
    if call is None:
        raise LookupError(f"step {step.step_id} has nothing to call in direction {direction}")
    attempt = {"index": index, "direction": direction.value, "epoch": epoch}
    theirs: Signature = app.signature(call.target, kwargs=kwargs, immutable=True)
    # `expires` here only keeps a layer from acting on a message whose attempt was given up; the rows decide the rest.
    # A moment, not a number of seconds: those would begin at the send, before which this process may be frozen.
    task_id: str = uuid()
    expires = datetime.now(UTC) + timedelta(seconds=limit_sec + settings.HUB.saga_lease_grace_sec)
    theirs.set(task_id=task_id, queue=call.where, headers=headers, time_limit=limit_sec, expires=expires)
    theirs.link_error(on_failure(execution_id, **attempt))
    finish = app.signature("hub.sagas.finish", kwargs={"execution_id": execution_id, **attempt}, queue=SAGAS, ignore_result=True)
    finish.link_error(on_failure(execution_id))
    crash_point("layer.before_send", execution_id, direction, index)
    try:
        chain(theirs, finish).apply_async()
    except (OperationalError, RedisError, OSError) as exc:
        log.warning("layer task not confirmed by the broker", extra={"execution_id": execution_id, "error": str(exc)})
        return ""
    crash_point("layer.after_send", execution_id, direction, index)
    return task_id
