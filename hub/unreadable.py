"""A message that no worker can carry out is put aside, with a line in the log and an answer to its sender.

Celery does so with what it cannot decode. What it can decode but not make a task of (no id, no arguments, JSON nested deeper than a
process can be told) ends the worker, goes back into its queue, and ends the next one: one message of a layer would stop the hub.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from celery import bootsteps
from kombu.exceptions import ContentDisallowed, DecodeError

from hub.errors import ErrorCode, IntegrationError

log = logging.getLogger(__name__)

MAX_DEPTH = 200
"""A worker tells its processes of a task by pickle, which takes two of Python's thousand frames for each level."""


def _is_pair_of_seconds(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(one is None or isinstance(one, int | float) for one in value)


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


_HEADERS: dict[str, Callable[[Any], bool]] = {"timelimit": _is_pair_of_seconds, "stamped_headers": _is_list_of_texts}
"""What Celery reads of a message after a process was set aside for it."""


class PutAside(bootsteps.Step):  # type: ignore[misc]  # Celery has no types
    """Guard what the consumer does with a message."""

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        make = consumer.create_task_handler
        consumer.create_task_handler = lambda: _guarded(consumer, make())


def _guarded(consumer: Any, take: Callable[[Any], Any]) -> Callable[[Any], None]:
    def take_or_put_aside(message: Any) -> None:
        try:
            _check(message)
            take(message)
        except (*consumer.connection_errors, *consumer.channel_errors):
            raise
        except Exception as exc:
            # The edge of the consumer: whatever a message does to it, the next one is taken.
            _put_aside(consumer, message, exc)

    return take_or_put_aside


def _check(message: Any) -> None:
    """Refuse what would fail when a process of the pool has been set aside for it: E11906, E11950."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    if any(is_deeper(part, MAX_DEPTH) for part in (headers, message.properties, _payload(message))):
        raise IntegrationError(ErrorCode.JSON_TOO_DEEP, f"the task message is nested deeper than {MAX_DEPTH}")
    wrong = [name for name, is_right in _HEADERS.items() if headers.get(name) is not None and not is_right(headers[name])]
    if wrong:
        raise IntegrationError(ErrorCode.ENVELOPE_MALFORMED, f"the header {wrong[0]} of the task message is malformed")


def _payload(message: Any) -> Any:
    text = message.body if isinstance(message.body, str) else (message.body or b"").decode("latin-1")
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return None
    try:
        return message.payload
    except (ContentDisallowed, DecodeError):
        return None  # Celery puts these aside itself


def is_deeper(value: Any, limit: int) -> bool:
    """Tell whether a JSON value is nested deeper than that."""
    level = [value]
    for _ in range(limit + 1):
        level = [child for item in level for child in _children(item)]
    return bool(level)


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _put_aside(consumer: Any, message: Any, exc: Exception) -> None:
    error = (
        exc if isinstance(exc, IntegrationError) else IntegrationError(ErrorCode.ENVELOPE_MALFORMED, f"{type(exc).__name__}: {exc!s:.200}")
    )
    headers = message.headers if isinstance(message.headers, dict) else {}
    named = {name: str(headers.get(name))[:200] for name in ("task", "id", "origin")}
    log.error("a message that cannot be carried out was put aside", extra={"message_": named, "why": str(error)}, exc_info=exc)
    message.ack_log_error(log, consumer.connection_errors)
    if isinstance(headers.get("id"), str):
        consumer.app.backend.mark_as_failure(headers["id"], error)
