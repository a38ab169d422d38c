"""Where a durable subscription may deliver to: a layer's task, a registered service, a named handler (pure)."""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass

from hub.errors import ErrorCode, IntegrationError

_TASK = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,254}\Z")
_QUEUE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,254}\Z")
_SERVICE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}\Z")
_PATH = re.compile(r"/(?!/)[^\s\\#\x00-\x1f]{0,1000}\Z")
_HANDLER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:*/-]{0,127}\Z")
METHODS = ("POST", "PUT", "PATCH")
PRIVATE = ("hub.", "celery.")
"""Tasks that are not a subscriber's business: a delivery to one would run the hub's insides with foreign arguments."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskTarget:
    """A Celery task by name, in the queue that its workers read; it gets the keyword argument ``event``."""

    task: str
    queue: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpTarget:
    """A path of a registered service; the event is the body, as CloudEvents JSON."""

    service_name: str
    path: str
    method: str = "POST"


@dataclass(frozen=True, kw_only=True, slots=True)
class HandlerTarget:
    """A function by the name it is registered under, in a worker or in the process that subscribed."""

    handler: str


Target = TaskTarget | HttpTarget | HandlerTarget


def from_fields(fields: object) -> Target:
    """Return the target that an object names: ``{task, queue}``, or ``{service_name, path}`` and perhaps ``method``.

    E11106 for anything else: no target, half of one, or fields of both.
    """
    for kind in (TaskTarget, HttpTarget):
        known = kind.__dataclass_fields__
        needed = {name for name, field in known.items() if field.default is MISSING}
        if isinstance(fields, dict) and needed <= set(fields) <= set(known):
            return check_target(kind(**fields))
    given = ", ".join(sorted(map(ascii, fields)))[:80] if isinstance(fields, dict) else type(fields).__name__
    raise IntegrationError(
        ErrorCode.DELIVERY_TARGET_INVALID, f"a target has a task and its queue, or a service_name and its path, not {given or 'nothing'}"
    )


def check_target(target: object) -> Target:
    """Return `target` if events can be delivered to it; E11106 otherwise."""
    if isinstance(target, TaskTarget):
        _check(bool(_matches(_TASK, target.task)), f"task {_shown(target.task)} is malformed")
        _check(not target.task.startswith(PRIVATE), f"task {_shown(target.task)} belongs to the hub")
        _check(bool(_matches(_QUEUE, target.queue)), f"queue {_shown(target.queue)} is malformed")
        _check(not is_own_queue(target.queue), f"queue {_shown(target.queue)} is the hub's own (name the one that the layer reads)")
    elif isinstance(target, HttpTarget):
        _check(bool(_matches(_SERVICE, target.service_name)), f"service name {_shown(target.service_name)} is malformed")
        _check(bool(_matches(_PATH, target.path)), f"path {_shown(target.path)} is malformed")
        _check(target.method in METHODS, f"method {_shown(target.method)} is none of {', '.join(METHODS)}")
    elif isinstance(target, HandlerTarget):
        _check(bool(_matches(_HANDLER, target.handler)), f"handler {_shown(target.handler)} is malformed")
    else:
        _check(False, "a durable subscription needs a task, a service's path or a handler")
    return target  # type: ignore[return-value]  # the last branch raises


def is_own_queue(name: str) -> bool:
    """Tell whether a queue, or what else Redis has under a name, is the hub's: what is sent there is a loop, a way in, or lost."""
    return name == "hub" or name.startswith(("hub.", "hub:"))


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and bool(pattern.match(value))


def _shown(value: object) -> str:
    return repr(str(value)[:80])


def _check(is_right: bool, message: str) -> None:
    if not is_right:
        raise IntegrationError(ErrorCode.DELIVERY_TARGET_INVALID, message)
