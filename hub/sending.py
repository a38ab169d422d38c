"""Send tasks that nobody waits for, cheaper than ``send_task`` and many in one round trip.

    from hub import submit, submit_many

    submit("hub.sagas.start", {"saga_name": "deploy_application", "context": {...}})
    submit_many("l03.reindex", [{"page": page} for page in range(500)], queue="l03")

What lies in the queue is what ``send_task(..., ignore_result=True)`` puts there (`hub.broker`), with the current trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celery import uuid
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from hub import broker
from hub.broker import TaskMessage
from hub.celery import PUBLIC
from hub.errors import ErrorCode, IntegrationError
from hub.json_values import check_json

MAX_AT_ONCE = 1_000
MAX_BYTES = 1_048_576
MAX_BYTES_TOGETHER = 16 * MAX_BYTES
"""They are one command, which Redis keeps in memory as a whole."""


def submit(task: str, kwargs: Mapping[str, Any] | None = None, *, queue: str = PUBLIC) -> str:
    """Send a task with these arguments and return its id; its result is not kept.

    Errors: those of `submit_many`.
    """
    return submit_many(task, [{} if kwargs is None else kwargs], queue=queue)[0]


def submit_many(task: str, many: Sequence[Mapping[str, Any]], *, queue: str = PUBLIC) -> list[str]:
    """Send a task once for each set of arguments, all in one round trip, and return the ids in the same order.

    Errors, before anything is sent: E11902 (a name is no text, arguments are no object, more than 1,000), E11905, E11906
    (no JSON), E11960 (one has more than 1 MB, or all have more than 16 MB). E11941 when the broker cannot be reached: then
    all of them, some or none may have been sent.
    """
    _check(task, many, queue)
    each = [(uuid(), kwargs) for kwargs in many]
    letters = _letters(task, queue, each) if each else []
    try:
        broker.post(letters)
    except (OperationalError, RedisError, OSError) as exc:
        raise IntegrationError(ErrorCode.BROKER_UNAVAILABLE, f"{len(letters)} x {task} for queue {queue}: {type(exc).__name__}") from exc
    return [task_id for task_id, _ in each]


def _letters(task: str, queue: str, each: Sequence[tuple[str, Mapping[str, Any]]]) -> list[broker.Letter]:
    (task_id, kwargs), *others = each
    shown = None if kwargs else "{}"
    first = TaskMessage(
        task=task, queue=queue, task_id=task_id, kwargs=kwargs, ignore_result=True, argsrepr="[]", kwargsrepr=shown, **broker.family()
    )
    return broker.letters(first, others)


def _check(task: object, many: object, queue: object) -> None:
    for what, name in (("task", task), ("queue", queue)):
        if not isinstance(name, str) or not name or not name.isprintable():
            raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"{what} must be a name, not {name!a:.80}")
    if not isinstance(many, list | tuple):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"the arguments of many tasks must be a list, not {type(many).__name__}")
    if len(many) > MAX_AT_ONCE:
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"{len(many)} tasks at once, the limit is {MAX_AT_ONCE}")
    size = sum(_size(task, kwargs) for kwargs in many)
    if size > MAX_BYTES_TOGETHER:
        raise IntegrationError(ErrorCode.MESSAGE_TOO_LARGE, f"{len(many)} x {task} have {size} bytes, the limit is {MAX_BYTES_TOGETHER}")


def _size(task: object, kwargs: object) -> int:
    """Return how long the arguments are as JSON, or refuse them."""
    if not isinstance(kwargs, Mapping):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"the arguments of {task} must be an object, not {type(kwargs).__name__}")
    return len(check_json(dict(kwargs), what=f"the arguments of {task}", max_bytes=MAX_BYTES)) if kwargs else 0
