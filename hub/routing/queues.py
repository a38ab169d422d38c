"""A service that is a Celery worker: an endpoint ``celery://queue`` is called as an HTTP one is.

``POST /l03/reserve`` with ``{"order": 7}`` sends the task ``l03.reserve(order=7)`` to the queue and waits for its result. The
task needs nothing of the hub; what the hub knows travels in the message's headers: ``traceparent``, ``x-correlation-id``,
``idempotency-key``, and ``x-request-deadline`` as a point in time, for a message may wait.
"""

from __future__ import annotations

import logging
import socket
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote

import redis
from celery import states
from kombu.exceptions import KombuError, OperationalError

from hub import broker
from hub.broker import TaskMessage
from hub.celery import app
from hub.errors import ErrorCode, IntegrationError, Outcome, RequestFailed
from hub.events.targets import PRIVATE, is_own_queue
from hub.json_values import check_json
from hub.routing.request import BINARY_KEY, Request
from hub.routing.values import Answer
from registry_app.endpoints import parse_endpoint
from registry_app.wire import Call

log = logging.getLogger(__name__)

FIRST_LOOK_SEC, LONGEST_LOOK_SEC = 0.01, 0.2
CLOCKS_DIFFER_SEC = 5.0
"""A layer whose clock is ahead by this much must not drop what is still waited for."""
REFUSAL_STATUS = 409
"""What the exception ``Refused`` of a task stands for: an explicit no."""
UNKNOWN_STATUS = 404
"""What a task stands for that the worker does not know: the caller's mistake, not a sick service."""

_STORE_ERRORS = (redis.RedisError, OSError, KombuError)


def exchange(call: Call, request: Request, *, endpoint: str, headers: dict[str, str], task_id: str) -> Answer:
    """Send the task under `task_id` and return its result as the answer's body.

    Errors: E11080 a task or a queue of the hub's own. RequestFailed: E11324 cancelled; E11340, E11341 not sent; E11342 no result
    in time; E11343 result lost; E11344 the task failed; E11345 it refused or is unknown.
    """
    queue, task = parse_endpoint(endpoint).host, task_name(request.path)
    _refuse_own(queue, task)
    started = time.monotonic()
    deadline = datetime.now(UTC) + timedelta(seconds=_time_to_send(call, queue))
    _publish(
        TaskMessage(
            task=task,
            queue=queue,
            task_id=task_id,
            kwargs=task_arguments(request),
            headers=headers | {"x-request-deadline": deadline.isoformat()},
            # A layer that comes back does not carry out what was given up meanwhile.
            expires=deadline + timedelta(seconds=CLOCKS_DIFFER_SEC),
            kwargsrepr="(not shown)",
            **broker.family(),
        )
    )
    call.sent, call.connect_sec = True, time.monotonic() - started
    meta = _wait(call, task_id, f"{task} in queue {queue}")
    return Answer(
        status_code=200, headers={}, body=_result(meta, task), connect_sec=call.connect_sec, server_sec=time.monotonic() - started
    )


def _refuse_own(queue: str, task: str) -> None:
    """Keep the hub's own tasks for those who may send them: a message from here has left its sender's scopes behind."""
    if task.startswith(PRIVATE) or is_own_queue(queue):
        raise IntegrationError(ErrorCode.ENDPOINT_ADDRESS_REFUSED, f"task {task[:80]} in queue {queue} is the hub's own")


def task_name(path: str) -> str:
    """Return the task that a path names: ``/l03/reserve`` and ``/l03.reserve`` are ``l03.reserve``."""
    return ".".join(part for part in unquote(path).split("/") if part)


def task_arguments(request: Request) -> dict[str, Any]:
    """Return the task's keyword arguments: the query's texts, and the fields of an object; other data as ``data``."""
    found: dict[str, Any] = dict(parse_qsl(request.target.partition("?")[2]))
    if isinstance(request.data, dict) and BINARY_KEY not in request.data:
        return found | request.data
    return found if request.data is None else found | {"data": request.data}


def _time_to_send(call: Call, queue: str) -> float:
    try:
        return call.time_left()
    except TimeoutError:
        code, message = ErrorCode.TIMED_OUT_BEFORE_SEND, f"queue {queue}: the deadline passed before anything was sent"
    except ConnectionAbortedError:
        code, message = ErrorCode.REQUEST_CANCELLED, f"the call to queue {queue} was cancelled before anything was sent"
    raise RequestFailed(code, message, outcome="nothing_sent")


def _publish(message: TaskMessage) -> None:
    # Not by `send_task`, which also subscribes to the result, and waits 20 s for a Redis that is away.
    try:
        broker.post([broker.letter(message)])
    except (OperationalError, redis.RedisError, OSError) as exc:
        code, outcome = _how_far(exc)
        raise RequestFailed(code, f"queue {message.queue}: {exc!s:.120}", outcome=outcome) from exc


def _how_far(exc: Exception) -> tuple[ErrorCode, Outcome]:
    """Tell whether a message may lie in its queue all the same: that its receipt was lost may be all that failed."""
    if isinstance(exc, redis.TimeoutError):
        return ErrorCode.TIMED_OUT_AFTER_SEND, "unknown"
    was_refused = isinstance(exc, OperationalError | redis.ResponseError | redis.AuthenticationError)
    if was_refused or isinstance(exc.__context__, ConnectionRefusedError | socket.gaierror):
        return ErrorCode.CONNECT_FAILED, "nothing_sent"
    return ErrorCode.CONNECTION_BROKE_AFTER_SEND, "unknown"


def _wait(call: Call, task_id: str, what: str) -> dict[str, Any]:
    look_sec = FIRST_LOOK_SEC
    while True:
        try:
            meta: dict[str, Any] = app.backend.get_task_meta(task_id, cache=False)
        except _STORE_ERRORS as exc:
            raise RequestFailed(
                ErrorCode.CONNECTION_BROKE_AFTER_SEND, f"the result of {what} is lost: {exc!s:.120}", outcome="unknown"
            ) from exc
        if meta["status"] in states.READY_STATES:
            _forget(task_id)
            return meta
        _pause(call, look_sec, what)
        look_sec = min(look_sec * 1.5, LONGEST_LOOK_SEC)


def _forget(task_id: str) -> None:
    try:
        app.backend.delete(app.backend.get_key_for_task(task_id))
    except _STORE_ERRORS as exc:
        # The answer is there; what stays in Redis ends by itself.
        log.warning("a result could not be taken off", extra={"task_id": task_id, "error": type(exc).__name__})


def _pause(call: Call, seconds: float, what: str) -> None:
    try:
        time.sleep(min(seconds, call.time_left()))
        call.time_left()
    except TimeoutError:
        raise RequestFailed(
            ErrorCode.TIMED_OUT_AFTER_SEND,
            f"no result of {what} in time",
            recovery_suggestion="see that a worker of that queue knows the task and has a result backend",
            outcome="unknown",
        ) from None
    except ConnectionAbortedError:
        raise RequestFailed(ErrorCode.REQUEST_CANCELLED, f"waiting for {what} was cancelled", outcome="unknown") from None


def _result(meta: dict[str, Any], task: str) -> Any:
    result = meta["result"]
    if meta["status"] == states.SUCCESS:
        return _checked(result, task)
    kind, text = type(result).__name__, f"{result!s:.300}"
    if meta["status"] == states.REVOKED:
        raise RequestFailed(ErrorCode.CONNECTION_BROKE_AFTER_SEND, f"{task} was revoked", outcome="unknown")
    if kind == "Refused":
        raise RequestFailed(ErrorCode.UPSTREAM_CLIENT_ERROR, f"{task} refused: {text}", outcome="answered", status_code=REFUSAL_STATUS)
    if kind == "NotRegistered":
        message = f"the worker knows no task {task}"
        raise RequestFailed(ErrorCode.UPSTREAM_CLIENT_ERROR, message, outcome="answered", status_code=UNKNOWN_STATUS)
    raise RequestFailed(ErrorCode.UPSTREAM_SERVER_ERROR, f"{task} failed with {kind}: {text}", outcome="answered", status_code=500)


def _checked(result: Any, task: str) -> Any:
    try:
        check_json(result, what=f"the result of {task}", max_bytes=2**31)
    except IntegrationError as exc:
        raise RequestFailed(ErrorCode.UPSTREAM_ANSWER_MALFORMED, exc.message, outcome="unknown") from exc
    return result
