"""L03_tool_execution: a plain Celery worker on its own queue, with its own state. It knows the broker's address, nothing else.

celery -A demo.layers.tools worker -Q l03        (with BROKER_URL and TOOLS_STATE set)
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery import Celery

app = Celery("l03", broker=os.environ.get("BROKER_URL", "redis://localhost:6379/0"))
app.conf.update(
    task_default_queue="l03",
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
)
TOOLS = ["browser", "shell", "search"]


@app.task(name="l03.reserve_tools")
def reserve_tools(context: dict[str, Any]) -> dict[str, Any]:
    """Hold tools for an application; holding them twice is holding them once."""
    with _state() as reserved:
        reserved[context["app"]] = TOOLS[: int(context.get("tools", 2))]
        return {"tools": reserved[context["app"]]}


@app.task(name="l03.release_tools")
def release_tools(context: dict[str, Any], output: dict[str, Any] | None) -> dict[str, Any]:
    """Let go of them; harmless when none are held."""
    with _state() as reserved:
        return {"released": reserved.pop(context["app"], [])}


@contextmanager
def _state() -> Iterator[dict[str, list[str]]]:
    """Load what is reserved, and store it when the block ends well; one process at a time."""
    path = Path(os.environ.get("TOOLS_STATE", "tools.json"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        reserved = json.loads(path.read_text()) if path.exists() else {}
        yield reserved
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(reserved))
        draft.replace(path)
