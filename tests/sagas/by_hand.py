"""Drive sagas in this process, one turn at a time, for tests in which nobody else may move them."""

from __future__ import annotations

from typing import Any

from sagas import accept, catalog, chain, clock, engine, handover, plan, recovery, services, store
from sagas.models import SagaExecution
from sagas.spec import SagaSpec
from sagas.states import Direction


def accepted(saga: str | SagaSpec, **context: Any) -> str:
    """Store a run that nobody is told of, and return its id."""
    spec = catalog.find(saga) if isinstance(saga, str) else saga
    return str(accept.accept(spec, accept.Request(context={"plan": {}, **context}))[0].pk)


def turn(execution_id: str) -> bool:
    """Do what lies ready now; tell whether there was anything."""
    loaded = store.load(execution_id)
    work = plan.work(loaded.spec, loaded.run, now=clock.now())
    for branch in work.branches if work else ():
        one(execution_id, branch[0], work.direction)
    return work is not None


def one(execution_id: str, index: int, direction: Direction = Direction.DO) -> None:
    """Run or begin one step."""
    step = store.load(execution_id).spec.steps[index]
    (handover.begin if chain.is_handed_over(step, direction) else engine.perform)(execution_id, index, direction)


def drive(execution_id: str) -> dict[str, Any]:
    """Take turns while there are any, and return the run as its caller sees it."""
    while turn(execution_id):
        pass
    return services.status(execution_id)


def look(execution_id: str) -> None:
    """Let the sweeper look at a run now."""
    SagaExecution.objects.filter(pk=execution_id).update(next_wake_at=clock.moment(clock.now() - 1))
    recovery.wake(execution_id)


def children_of(execution_id: str) -> list[str]:
    """Return the ids of a run's children, oldest first."""
    return [str(pk) for pk in SagaExecution.objects.filter(parent=execution_id).order_by("created_at").values_list("pk", flat=True)]
