"""Trace and correlation through Celery messages, with signals only: a layer needs none of this to be traced.

Publishing copies the current context into the message's headers, also for the next steps of a chain, callbacks and
children, which Celery itself leaves bare. Running opens a span under the context that the message brought.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from threading import get_ident
from typing import Any

from celery import Signature, current_task, signals
from opentelemetry.trace import Span, Status, StatusCode

from hub.telemetry import background, conventions, logs, tracing
from hub.telemetry.secrets import redactor

log = logging.getLogger(__name__)

SENT_AT = "hub-sent-at"
"""Header with the moment of sending, in seconds since 1970; the wait in the queue becomes a span of its own."""
CARRIED = ("traceparent", "tracestate", "baggage", "x-correlation-id")
# These run every few seconds and find nothing to do: as spans they would drown what matters.
UNTRACED = ("hub.control.", "celery.")
MAX_WAIT_SEC = 7 * 86_400.0

_running: dict[tuple[str, int], tuple[ExitStack, Span]] = {}
"""By task id and thread: a message that came twice may run twice at once in a worker of threads."""


def carry_context(headers: dict[str, Any] | None = None, body: Any = None, is_copy: bool = False, **_: Any) -> None:
    """Put the current trace and correlation into a message that has none, and into what is sent after it.

    `is_copy`: of a message of now, which has them.
    """
    if headers is None:
        return
    headers[SENT_AT] = time.time()
    if is_copy:
        return
    found = {**inherited_headers(), **tracing.headers()}
    headers |= _missing(headers, found)
    if found and isinstance(body, tuple):
        _carry_into_followers(body[2], found)


def _missing(headers: Mapping[str, Any], found: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in found.items() if not headers.get(name)}


def _carry_into_followers(embed: dict[str, Any], found: Mapping[str, str]) -> None:
    """Let callbacks and the rest of a chain know their trace: a layer's worker, or a dead child's parent, sends them bare."""
    for kind in ("callbacks", "errbacks", "chain"):
        if embed.get(kind):
            embed[kind] = [_with_headers(signature, found) for signature in embed[kind]]


def _with_headers(signature: dict[str, Any], found: Mapping[str, str]) -> dict[str, Any]:
    own = signature["options"].get("headers") or {}
    bound = signature.clone() if isinstance(signature, Signature) else {**signature, "options": dict(signature["options"])}
    bound["options"]["headers"] = {**own, **_missing(own, found)}
    return bound


def inherited_headers() -> dict[str, str]:
    """Return the context that the running task's own message brought."""
    if not current_task or not (request := current_task.request).id:
        return {}
    return {name: value for name in CARRIED if (value := _header(request, name))}


def _header(request: Any, name: str) -> str:
    value = (request.headers or {}).get(name) or getattr(request, name, None)
    return value if isinstance(value, str) else ""


def open_span(task_id: str, task: Any, **_: Any) -> None:
    """Open the span of a task's run, under the span that sent it."""
    if task.name.startswith(UNTRACED):
        return
    try:
        _running[task_id, get_ident()] = _enter(task)
    except Exception:
        # The edge of the observer: a task runs, traced or not.
        log.exception("a task could not be traced", extra={"task": task.name})


def _enter(task: Any) -> tuple[ExitStack, Span]:
    request, stack = task.request, ExitStack()
    traceparent = _header(request, "traceparent") or None
    queue = (request.delivery_info or {}).get("routing_key") or "direct"
    attributes = _attributes(task, queue)
    stack.enter_context(tracing.correlated(_header(request, "x-correlation-id")))
    # A message without context starts a trace, whatever was current in this thread; one run in place stays a child.
    parent = traceparent if traceparent or request.called_directly or request.is_eager else ""
    _record_wait(request, queue, parent, attributes)
    span = stack.enter_context(tracing.span(f"process {queue}", kind="consumer", attributes=attributes, traceparent=parent))
    return stack, span


def _attributes(task: Any, queue: str) -> dict[str, Any]:
    return {
        conventions.MESSAGING_SYSTEM: "celery",
        conventions.MESSAGING_OPERATION: "process",
        conventions.MESSAGING_OPERATION_TYPE: "process",
        conventions.MESSAGING_DESTINATION: queue,
        conventions.MESSAGING_MESSAGE_ID: task.request.id,
        conventions.MESSAGING_CONVERSATION_ID: task.request.correlation_id,
        conventions.TASK_NAME: task.name,
        conventions.TASK_RETRIES: task.request.retries or None,
    }


def _record_wait(request: Any, queue: str, traceparent: str | None, attributes: dict[str, Any]) -> None:
    """Record the time between sending and now; two machines' clocks may differ, so never less than nothing."""
    sent_at = (request.headers or {}).get(SENT_AT) or getattr(request, SENT_AT, None)
    if not isinstance(sent_at, int | float) or isinstance(sent_at, bool) or not traceparent:
        return
    now = time.time()
    if not 0 <= now - sent_at <= MAX_WAIT_SEC:
        return
    waiting = {**attributes, conventions.MESSAGING_OPERATION: "receive", conventions.MESSAGING_OPERATION_TYPE: "receive"}
    with tracing.span(f"wait {queue}", kind="consumer", attributes=waiting, traceparent=traceparent, start_ns=int(sent_at * 1e9)):
        pass


def mark_failed(task_id: str, exception: BaseException | None = None, **_: Any) -> None:
    """Mark the span of a run that failed."""
    _mark(task_id, exception, "failed")


def mark_retried(request: Any, reason: Any = None, **_: Any) -> None:
    """Mark the span of a run that will be repeated."""
    _mark(request.id, reason, "retry")


def _mark(task_id: str, reason: Any, outcome: str) -> None:
    if (found := _running.get((task_id, get_ident()))) is None:
        return
    span = found[1]
    span.set_attribute(conventions.TASK_OUTCOME, outcome)
    span.set_attribute(conventions.ERROR_TYPE, type(reason).__name__)
    span.set_status(Status(StatusCode.ERROR, str(reason)[: tracing.MAX_ATTRIBUTE_LENGTH]))


def close_span(task_id: str, **_: Any) -> None:
    """End the span of a task's run."""
    if (found := _running.pop((task_id, get_ident()), None)) is None:
        return
    try:
        found[0].close()
    except Exception:
        log.exception("a task's span could not be ended")


def redact_arguments(request: Any, **_: Any) -> None:
    """Take secrets out of the arguments that events show to Flower: the sender may be a plain Celery client."""
    request._argsrepr = redactor().text(request.argsrepr or "")
    request._kwargsrepr = redactor().text(request.kwargsrepr or "")


def flush(**_: Any) -> None:
    """Write what is left when a worker or a child of its pool ends."""
    background.flush_all()


def connect() -> None:
    """Listen to Celery's signals; called once, when Django is ready."""
    signals.before_task_publish.connect(carry_context, weak=False)
    signals.task_received.connect(redact_arguments, weak=False)
    signals.after_setup_logger.connect(logs.use_own_format, weak=False)
    signals.after_setup_task_logger.connect(logs.use_own_format, weak=False)
    signals.task_prerun.connect(open_span, weak=False)
    signals.task_retry.connect(mark_retried, weak=False)
    signals.task_failure.connect(mark_failed, weak=False)
    signals.task_postrun.connect(close_span, weak=False)
    signals.worker_process_shutdown.connect(flush, weak=False)
    signals.worker_shutdown.connect(flush, weak=False)
