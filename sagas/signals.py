"""What runs wait for: signals from people and layers, and events on the bus."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.models import QuerySet

from hub.crashpoints import crash_point
from hub.errors import ErrorCode, IntegrationError
from hub.json_values import check_json
from hub.partial import given
from sagas import clock, events, services, store
from sagas.models import SagaExecution, SagaStepExecution, SagaVersion
from sagas.spec import SagaSpec
from sagas.states import ACTIVE, SagaStatus

log = logging.getLogger(__name__)

_NAME = re.compile(r"^[A-Za-z0-9_.-]{1,100}$")
TOLD_AT_ONCE = 1_000
_OPEN = [status.value for status in (*ACTIVE, SagaStatus.NEEDS_OPERATOR)]


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
    if loaded.run.status.value in _OPEN:  # of one that has ended it is said that it takes none
        _check_awaited(loaded.spec, f"signal:{name}")
    return _give(execution_id, events.Signal(name=f"signal:{name}", now=clock.now(), payload=payload), actor, loaded)


def _check_awaited(spec: SagaSpec, name: str) -> None:
    known = [step.do.target for step in spec.steps if step.do.target.startswith("signal:")]
    if name not in known:
        has = f"it has: {', '.join(known)}" if known else "it waits for none"
        if any(step.do.kind == "saga" for step in spec.steps):
            has += "; a child of it has its own: its status names them"
        raise IntegrationError(ErrorCode.STEP_REFERENCE_UNKNOWN, f"no step of {spec.saga_name} waits for {name} ({has})")


def _give(
    execution_id: str, event: events.Signal | events.EventCame, actor: str = "", loaded: store.Loaded | None = None
) -> dict[str, Any]:
    crash_point("signal.before", execution_id)
    answer = services.ask(execution_id, event, actor, loaded)
    crash_point("signal.after", execution_id)
    return answer


def event_came(topic: str, payload: Any, *, event_id: str, correlation_id: str | None = None) -> int:
    """Tell the runs that wait for an event on this topic, and return how many those were.

    With the correlation id of runs that wait for this topic at some time it is theirs: they alone are told, those that do not
    wait for it yet too. Any other event is for whoever waits now. A run takes an `event_id` once. What one run did not take is
    raised when all were told, so that the event is delivered again.
    """
    came = events.EventCame(name=f"event:{topic}", event_id=event_id, now=clock.now(), payload=payload)
    owners = _owners(correlation_id, came.name) if correlation_id else None
    if owners is None:
        return _tell(SagaStepExecution.objects.filter(given("waiting_for", came.name)), "execution_id", came)
    return _tell(owners, "pk", replace(came, is_its_own=True))


def _tell(rows: QuerySet[Any], id_of: str, came: events.EventCame) -> int:
    told, last = 0, None
    failure: Exception | None = None
    while page := list(_after(rows, last).values_list("pk", id_of)[:TOLD_AT_ONCE]):
        for _, execution_id in page:
            failure = _told(str(execution_id), came) or failure
        told, last = told + len(page), page[-1][0]
    if failure is not None:
        raise failure
    return told


def _after(rows: QuerySet[Any], last: Any) -> QuerySet[Any]:
    return rows.order_by("pk") if last is None else rows.order_by("pk").filter(pk__gt=last)


def _told(execution_id: str, came: events.EventCame) -> Exception | None:
    try:
        _give(execution_id, came)
    except IntegrationError as exc:
        # The first two: it ended, or is gone, between the look and the word.
        return None if exc.code in (ErrorCode.TRANSITION_ILLEGAL, ErrorCode.EXECUTION_NOT_FOUND) else exc
    except (OperationalError, InterfaceError):
        raise  # the database is away: the others could not be told either
    except Exception as exc:  # One broken run must keep no other from hearing of it.
        log.exception("a run could not be told of an event", extra={"execution_id": execution_id})
        return exc
    return None


def _owners(correlation_id: str, name: str) -> QuerySet[SagaExecution] | None:
    """Return the runs of that correlation id that may take this event; None where it has none that wait for it at any time."""
    theirs = SagaExecution.objects.filter(correlation_id=correlation_id)
    versions = SagaVersion.objects.filter(pk__in=theirs.values("definition_id")).values_list("pk", "snapshot")
    listening = [pk for pk, snapshot in versions if _awaits(snapshot, name)]
    return theirs.filter(definition_id__in=listening, status__in=_OPEN) if listening else None


def _awaits(snapshot: dict[str, Any], name: str) -> bool:
    return any(step["do"]["target"] == name for step in snapshot["steps"])
