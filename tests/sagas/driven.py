"""Drive sagas in the test's own process, one turn at a time, where no worker is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from django.db import connection

from hub.errors import IntegrationError
from sagas import chain, clock, engine, events, handover, plan, recovery, services, store
from sagas.accept import Request, accept
from sagas.catalog import find
from sagas.models import SagaExecution
from sagas.spec import SagaSpec
from sagas.states import Direction

NOBODY = {"code": "E11431", "message": "no live worker reads queue 'nobody'"}


def started(saga: str | SagaSpec, context: dict[str, Any] | None = None, **request: Any) -> str:
    """Accept a run that no worker is told of."""
    spec = find(saga) if isinstance(saga, str) else saga
    return str(accept(spec, Request(context={"plan": {}} if context is None else context, **request))[0].pk)


def accepted(saga: str | SagaSpec, **context: Any) -> str:
    """Accept a run with these fields in its context."""
    return started(saga, {"plan": {}, **context})


def turn(execution_id: str) -> bool:
    """Do what lies ready now; tell whether there was anything."""
    loaded = store.load(execution_id)
    work = plan.work(loaded.spec, loaded.run, now=clock.now())
    for branch in work.branches if work else ():
        begin(execution_id, branch[0], work.direction)
    return work is not None


def begin(execution_id: str, index: int, direction: Direction = Direction.DO) -> None:
    """Do one step, or hand it over."""
    handed_over = chain.is_handed_over(store.load(execution_id).spec.steps[index], direction)
    (handover.begin if handed_over else engine.perform)(execution_id, index, direction)


def drive(execution_id: str) -> dict[str, Any]:
    """Do turn after turn until nothing lies ready; return how the run stands."""
    for _ in range(30):
        if not turn(execution_id):
            break
    return services.status(execution_id)


def look(execution_id: str) -> None:
    """Let the sweeper look at the run now."""
    SagaExecution.objects.filter(pk=execution_id).update(next_wake_at=clock.moment(clock.now() - 1))
    recovery.wake(execution_id)


def park(execution_id: str) -> None:
    """Let the queue of what comes next be without a worker for as long as the hub waits."""
    store.dispatch(execution_id, events.Blocked(now=clock.now(), patience_sec=0, error=NOBODY))


def children_of(execution_id: str) -> list[str]:
    return [str(row.pk) for row in SagaExecution.objects.filter(parent=execution_id).order_by("created_at")]


def at_one_time(*calls: Callable[[], Any]) -> list[IntegrationError]:
    """Make the calls in threads that begin together; return what was refused."""
    gate = threading.Barrier(len(calls))
    with ThreadPoolExecutor(len(calls)) as pool:
        return [exc for exc in pool.map(partial(_call, gate), calls) if exc is not None]


def _call(gate: threading.Barrier, call: Callable[[], Any]) -> IntegrationError | None:
    try:
        connection.ensure_connection()
        gate.wait(timeout=10)
        call()
    except IntegrationError as exc:
        return exc
    finally:
        connection.close()
    return None
