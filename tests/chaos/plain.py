"""What a team writes without the hub: a Celery chain whose steps have an error callback that undoes the steps before."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, chain

from tests.chaos.caller import call

STEPS = ("a", "b", "c", "d", "e")

app = Celery("plain", broker=os.environ.get("BROKER_URL"), backend=os.environ.get("BROKER_URL"), set_as_current=False)
app.conf.broker_connection_retry_on_startup = True


@app.task(name="plain.step", autoretry_for=(OSError,), retry_kwargs={"max_retries": 3, "countdown": 0.2})
def step(context: dict[str, Any], saga: str, name: str) -> None:
    call(_about(context, saga, name, "do"), undo=False)


@app.task(name="plain.undo", autoretry_for=(Exception,), retry_kwargs={"max_retries": 5, "countdown": 0.2})
def undo(context: dict[str, Any], saga: str, name: str) -> None:
    call(_about(context, saga, name, "undo"), undo=True)


@app.task(name="plain.compensate")
def compensate(context: dict[str, Any], saga: str, done: list[str]) -> None:
    """Undo what the failed step's predecessors did, last first."""
    if done:
        chain(*(undo.si(context, saga, name) for name in reversed(done))).apply_async()


def start(context: dict[str, Any], saga: str) -> str:
    """Send the whole saga and return the id under which its end can be looked up."""
    links = []
    for index, name in enumerate(STEPS):
        link = step.si(context, saga, name)
        links.append(link.on_error(compensate.si(context, saga, list(STEPS[:index]))))
    sent: str = chain(*links).apply_async().id
    return sent


def _about(context: dict[str, Any], saga: str, name: str, direction: str) -> dict[str, Any]:
    key = f"{saga}:{name}:{direction}"
    return {**context, "_saga": {"execution_id": saga, "step_id": name, "idempotency_key": key, "attempt": 1}}
