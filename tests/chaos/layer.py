"""A layer of its own: a plain Celery app without the hub's package, whose tasks know nothing of sagas."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery

from tests.chaos.caller import Refused, call

app = Celery("chaos-layer", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])
app.conf.update(task_serializer="json", accept_content=["json"], task_default_queue="chaos-layer", worker_prefetch_multiplier=1)

__all__ = ["Refused", "app"]


@app.task(name="chaos.act")
def act(context: dict[str, Any]) -> dict[str, Any]:
    order, _, once = context.get("plan", {}).get(f"{context['_saga']['step_id']}.layer", "").partition(" ")
    if once and context["_saga"]["attempt"] > 1:
        order = ""
    if order == "fail":
        raise ValueError("the layer is broken")
    if order == "die":
        os.kill(os.getpid(), 9)
    if order == "sleep":
        time.sleep(1.5)
    return call(context, undo=False)


@app.task(name="chaos.undo")
def undo(context: dict[str, Any], output: Any = None) -> None:
    call(context, undo=True)


@app.task(name="chaos.nap")
def nap(seconds: float) -> None:
    time.sleep(seconds)
