"""Who reads a queue, and which tasks they know: asked of the live workers, remembered for a moment in Redis.

A task name that no worker knows is dropped by Celery without a callback, so the hub asks before it sends (S22).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from hub.celery import app
from hub.error_codes import ErrorCode
from hub.redis_client import client
from sagas.calls import as_error

FRESH_SEC = 5
ASK_TIMEOUT_SEC = 1.0
PATIENT_TIMEOUT_SEC = 3.0
JUST_SEC = 2
"""For so long a patient answer stands: many runs that miss the same task need not ask the same question one after another."""
_KEY, _ASKED_KEY = "hub:roster", "hub:roster:asked-patiently"

Roster = dict[str, dict[str, Any]]
"""Worker name -> {"queues": [...], "tasks": [...]}."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """Why a task cannot be sent now, and how long to wait for that to change before an operator is asked."""

    error: dict[str, Any]
    patience_sec: float


def missing(task: str, queue: str) -> Missing | None:
    """Return why `task` cannot be sent to `queue`, or None when a live worker there knows it."""
    for look in (_remembered, ask, _ask_patiently):
        found = _judge(look(), task, queue)
        if found is None or (look is _remembered and client().exists(_ASKED_KEY)):
            return found
    return found


def _ask_patiently() -> Roster:
    """Ask once more with time: workers on a busy machine answer late, and parking a run for that would be a pity."""
    roster = ask(PATIENT_TIMEOUT_SEC)
    client().set(_ASKED_KEY, "1", ex=JUST_SEC)
    return roster


def _judge(roster: Roster, task: str, queue: str) -> Missing | None:
    readers = [worker for worker in roster.values() if queue in worker["queues"]]
    if any(task in worker["tasks"] for worker in readers):
        return None
    if readers:
        message = f"no worker on queue {queue!r} knows the task {task!r}"
        # Asked twice by now: a worker that is still loading its tasks gets one more look.
        return Missing(error=as_error(ErrorCode.TASK_UNKNOWN, message), patience_sec=2 * settings.HUB.saga_sweep_sec)
    message = f"no live worker reads queue {queue!r} (for the task {task!r})"
    return Missing(error=as_error(ErrorCode.TASK_UNKNOWN, message), patience_sec=settings.HUB.saga_orphan_sec)


def _remembered() -> Roster:
    stored = client().get(_KEY)
    return json.loads(stored) if isinstance(stored, str) else {}


def ask(timeout_sec: float = ASK_TIMEOUT_SEC) -> Roster:
    """Ask all workers on the broker now, twice for `timeout_sec`, and remember their answers."""
    inspect = app.control.inspect(timeout=timeout_sec)
    queues, tasks = inspect.active_queues() or {}, inspect.registered() or {}
    roster = {name: {"queues": _names(queues[name]), "tasks": _first_words(tasks.get(name, []))} for name in queues}
    client().set(_KEY, json.dumps(roster), ex=FRESH_SEC)
    return roster


def _names(queues: list[dict[str, Any]]) -> list[str]:
    return [queue["name"] for queue in queues]


def _first_words(tasks: list[str]) -> list[str]:
    """Drop what Celery appends to a name, as in ``name [rate_limit=10/s]``."""
    return [task.split(" ")[0] for task in tasks]
