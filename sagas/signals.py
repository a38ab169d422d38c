"""What runs wait for: signals from people and layers, and events on the bus."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings

from hub.crashpoints import crash_point
from hub.errors import ErrorCode, IntegrationError
from hub.json_values import check_json
from hub.partial import given
from sagas import clock, events, services, store
from sagas.models import SagaExecution, SagaStepExecution, SagaVersion
from sagas.spec import SagaSpec
from sagas.states import ACTIVE, SagaStatus

_NAME = re.compile(r"^[A-Za-z0-9_.-]{1,100}$")
WOKEN_AT_ONCE = 1_000


def give(execution_id: str, name: str, payload: Any = None, *, actor: str = "") -> dict[str, Any]:
    """Give a run a signal that a step waits for, or will wait for; its payload is merged into the context.

    Errors: E11423, E11908, E11425 when the run has ended, E11902 for a bad name, E11412 for one that no step waits for,
    E11905, E11906, E11461 for the payload.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"signal name {ascii(name)[:80]} must match {_NAME.pattern}")
    most = settings.HUB.saga_max_context_bytes
    check_json(payload, what="payload", max_bytes=most, too_large=ErrorCode.SAGA_CONTEXT_TOO_LARGE)
    loaded = store.load(services.identifier(execution_id))
    if loaded.run.status in (*ACTIVE, SagaStatus.NEEDS_OPERATOR):  # of one that has ended it is said that it takes none
        _check_awaited(loaded.spec, f"signal:{name}")
    return _give(execution_id, events.Signal(name=f"signal:{name}", now=clock.now(), payload=payload), actor, loaded)


def _check_awaited(spec: SagaSpec, name: str) -> None:
    known = [step.do.target for step in spec.steps if step.do.target.startswith("signal:")]
    if name not in known:
        has = f"it has: {', '.join(known)}" if known else "it waits for none"
        raise IntegrationError(ErrorCode.STEP_REFERENCE_UNKNOWN, f"no step of {spec.saga_name} waits for {name} ({has})")


def _give(execution_id: str, event: events.Signal, actor: str = "", loaded: store.Loaded | None = None) -> dict[str, Any]:
    crash_point("signal.before", execution_id)
    answer = services.ask(execution_id, event, actor, loaded)
    crash_point("signal.after", execution_id)
    return answer


def event_came(topic: str, payload: Any, *, correlation_id: str | None = None, event_id: str = "") -> int:
    """Wake the runs that wait for an event on this topic, and return how many those were.

    With the correlation id of a run that waits for this event at some time, only runs of that id: also when it comes again
    and they wait no more. A run takes an `event_id` once. What one run did not take is raised when all were told, so that
    the event is delivered again.
    """
    name = f"event:{topic}"
    waiting = SagaStepExecution.objects.filter(given("waiting_for", name)).order_by("pk")
    if correlation_id and waiting.exists() and _is_for_runs_of(correlation_id, name):
        waiting = waiting.filter(execution__correlation_id=correlation_id)
    told, last, failure = 0, 0, None
    while page := list(waiting.filter(pk__gt=last).values_list("pk", "execution_id")[:WOKEN_AT_ONCE]):
        for _, execution_id in page:
            failure = _wake(str(execution_id), name, payload, event_id) or failure
        told, last = told + len(page), page[-1][0]
    if failure is not None:
        raise failure
    return told


def _wake(execution_id: str, name: str, payload: Any, event_id: str) -> IntegrationError | None:
    try:
        _give(execution_id, events.Signal(name=name, now=clock.now(), payload=payload, keep=False, event_id=event_id))
    except IntegrationError as exc:
        # The first two: it ended, or is gone, between the look and the word.
        return None if exc.code in (ErrorCode.TRANSITION_ILLEGAL, ErrorCode.EXECUTION_NOT_FOUND) else exc
    return None


def _is_for_runs_of(correlation_id: str, name: str) -> bool:
    """Tell whether a run of that correlation id waits, waited or will wait for this event."""
    theirs = SagaExecution.objects.filter(correlation_id=correlation_id).values("definition_id")
    return any(_awaits(snapshot, name) for snapshot in SagaVersion.objects.filter(pk__in=theirs).values_list("snapshot", flat=True))


def _awaits(snapshot: dict[str, Any], name: str) -> bool:
    return any(step["do"]["target"] == name for step in snapshot["steps"])
