"""How Flower shows tasks: without secrets, also where a layer's own worker told of them (``--conf``)."""

from __future__ import annotations

from typing import Any

from hub.telemetry.amqp import SHOWN, without_secrets


def format_task(task: Any) -> Any:
    """Redact what a page shows of a task."""
    for name, text in without_secrets({name: getattr(task, name, None) for name in SHOWN}).items():
        setattr(task, name, text)
    return task
