"""Fill the tables as months of traffic would: sagas of every outcome, traces, dead letters, requests, what operators did."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from hub.bench.fill import fill
from hub.console.models import OperatorAction
from hub.errors import ErrorCode, IntegrationError
from hub.events.models import DeadLetter, Delivery, Event, Subscription
from hub.routing.models import RoutedRequest
from hub.telemetry.models import Span
from registry_app.models import HealthChange, Service
from sagas.models import SagaExecution, SagaStepExecution, SagaTransition, SagaVersion
from sagas.spec import Call, RetryPolicy, SagaSpec, StepSpec, digest

SERVICES = 20
SAGAS = 2
SPANS_OF_A_TRACE = 10
SUBSCRIPTIONS = 20
STEPS = ("reserve", "charge", "deploy", "notify")
# Most sagas are done, some are at it or wait for a person: of a thousand, and of a thousand requests, events and letters, each
# filter finds what fills a page. So what differs between few rows and many is the table, not how much of it is shown.
_OUTCOMES = [*["needs_operator"] * 5, *["running"] * 5, *["failed"] * 10, *["compensated"] * 10, *["completed"] * 70]
_ERROR = {"code": "E11440", "message": "L05_planning answered 503: no planner is free", "step_id": "deploy"}
SPACING = timedelta(seconds=3)


def check_fresh() -> None:
    """Refuse to mix made-up rows with real ones: E11921."""
    full = [model._meta.verbose_name for model in (SagaExecution, Span, Event) if model.objects.exists()]
    if full:
        raise IntegrationError(
            ErrorCode.CONFLICT,
            f"there are rows already: {', '.join(map(str, full))}",
            recovery_suggestion="name a fresh database in DATABASE_URL, or say --more",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How many rows of each kind; the others follow them."""

    sagas: int
    spans: int
    dead_letters: int

    def minus(self, others: Counts) -> Counts:
        """Return what is to be added to others."""
        return Counts(
            sagas=self.sagas - others.sagas, spans=self.spans - others.spans, dead_letters=self.dead_letters - others.dead_letters
        )

    def at_most(self, most: int) -> Counts:
        """Return the same, no kind above a limit."""
        return Counts(sagas=min(self.sagas, most), spans=min(self.spans, most), dead_letters=min(self.dead_letters, most))


def load(counts: Counts, *, say: Callable[[str], None] = lambda text: None) -> None:
    """Add so many rows; as many requests as sagas, and as many records of operators as dead letters."""
    now = timezone.now()
    if not Service.objects.exists():
        _services(now)
    for what, count, add in (
        ("sagas", counts.sagas, _sagas),
        ("spans", counts.spans, _spans),
        ("dead letters", counts.dead_letters, _dead_letters),
        ("requests", counts.sagas, _requests),
        ("records of operators", counts.dead_letters, _operator_actions),
    ):
        add(count, now)
        say(f"{count:,} {what}")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def service(number: int) -> str:
    """Return the name of a service, one of twenty."""
    return f"L{number % SERVICES:02}_bench"


def _spec(number: int) -> SagaSpec:
    retry = RetryPolicy(max_retries=3, delay_sec=1, backoff=2, max_delay_sec=60)
    steps = tuple(
        StepSpec(
            step_id=name,
            step_name=name.capitalize(),
            do=Call(kind="http", target=f"POST /{name}", where=service(number * len(STEPS) + place)),
            undo=Call(kind="http", target=f"POST /{name}/undo", where=service(number * len(STEPS) + place)),
            timeout_sec=30,
            undo_timeout_sec=30,
            retry=retry,
            undo_retry=retry,
        )
        for place, name in enumerate(STEPS)
    )
    spec = SagaSpec(saga_name=f"bench_{number}", version="1", steps=steps, timeout_sec=600)
    return replace(spec, hash=digest(spec))


def _sagas(count: int, now: datetime) -> None:
    versions = [_version(_spec(number)) for number in range(SAGAS)]
    ids = [uuid.uuid4() for _ in range(count)]
    fill(SagaExecution, (_run(pk, n, versions[n % SAGAS], now) for n, pk in enumerate(ids)), cause="", context={"order": 4711})
    fill(SagaStepExecution, (step for n, pk in enumerate(ids) for step in _steps(pk, n)), output={"ok": True})
    fill(SagaTransition, (move for n, pk in enumerate(ids) for move in _moves(pk, n, now)), actor="hub@worker-1:4711")


def _version(spec: SagaSpec) -> SagaVersion:
    values = {"hash": spec.hash, "snapshot": spec.to_dict()}
    return SagaVersion.objects.get_or_create(saga_name=spec.saga_name, version=spec.version, defaults=values)[0]


def _status(number: int) -> str:
    return _OUTCOMES[number // SAGAS * 37 % len(_OUTCOMES)]


def _run(pk: uuid.UUID, number: int, version: SagaVersion, now: datetime) -> dict[str, Any]:
    status, began = _status(number), now - SPACING * number
    ended = None if status == "running" else began + timedelta(seconds=12)
    return {
        "id": pk,
        "definition_id": version.pk,
        "saga_name": version.saga_name,
        "status": status,
        "error": None if status in ("completed", "running") else _ERROR,
        "started_count": len(STEPS),
        "created_at": began,
        "started_at": began,
        "finished_at": ended,
        "deadline_at": now + timedelta(hours=1),
        "next_wake_at": None if ended else now + timedelta(hours=1),
        "trace_id": pk.hex,
        "correlation_id": f"order-{number}",
    }


def _steps(pk: uuid.UUID, number: int) -> Iterator[dict[str, Any]]:
    status = {"completed": "completed", "compensated": "compensated", "running": "running"}.get(_status(number), "completed")
    for index, name in enumerate(STEPS):
        yield {
            "execution_id": pk,
            "index": index,
            "step_id": name,
            "step_name": name.capitalize(),
            "status": status,
            "attempts": 1,
            "started_seq": index,
        }


def _moves(pk: uuid.UUID, number: int, now: datetime) -> Iterator[dict[str, Any]]:
    began = now - SPACING * number
    yield {"execution_id": pk, "at": began, "step_id": "", "old": "pending", "new": "running"}
    for place, name in enumerate(STEPS):
        at = began + timedelta(seconds=place * 3)
        yield {"execution_id": pk, "at": at, "step_id": name, "old": "pending", "new": "running"}
        yield {"execution_id": pk, "at": at + timedelta(seconds=2), "step_id": name, "old": "running", "new": "completed"}


def _spans(count: int, now: datetime) -> None:
    known = list(SagaExecution.objects.order_by("-created_at").values_list("trace_id", flat=True)[: count // SPANS_OF_A_TRACE + 1])
    fill(Span, (_span(n, known, now) for n in range(count)), kind="internal")


def _span(number: int, known: list[str], now: datetime) -> dict[str, Any]:
    trace, place = divmod(number, SPANS_OF_A_TRACE)
    trace_id = known[trace] if trace < len(known) else uuid.uuid4().hex if not place else f"{trace:032x}"
    return {
        "trace_id": trace_id,
        "span_id": f"{number + 1:016x}",
        "parent_span_id": f"{number - place + 1:016x}" if place else "",
        "name": STEPS[place % len(STEPS)] if place else "saga",
        "service": service(trace + place),
        "start": now - SPACING * trace + timedelta(milliseconds=place * 50),
        "duration_us": 500_000 if not place else 40_000,
        "status": "error" if number % 20 == 0 else "ok",
        "correlation_id": f"order-{trace}",
        "attributes": {"hub.step": place},
    }


def _dead_letters(count: int, now: datetime) -> None:
    subscriptions = [_subscription(number) for number in range(SUBSCRIPTIONS)]
    event, delivery = _next_id(Event), _next_id(Delivery)
    fill(Event, (_event(event + n, n, now) for n in range(count)), event_type="created")
    fill(Delivery, (_delivery(delivery + n, event + n, subscriptions[n % SUBSCRIPTIONS], n, now) for n in range(count)))
    fill(
        DeadLetter,
        (
            {
                "delivery_id": delivery + n,
                "event_id": event + n,
                "subscription_id": subscriptions[n % SUBSCRIPTIONS],
                "status": "open" if n % 5 else "discarded",
                "fingerprint": f"{n % 60:016x}",
                "created_at": now - SPACING * n,
                "last_at": now - SPACING * n,
                "decided_at": None if n % 5 else now,
                "decided_by": "" if n % 5 else "ann",
            }
            for n in range(count)
        ),
        error_code="E11143",
        error="KeyError: 'agent_id'",
    )


def _next_id(model: Any) -> int:
    newest = model.objects.order_by("-pk").values_list("pk", flat=True).first()
    return (newest or 0) + 1


def _subscription(number: int) -> int:
    values = {"pattern": "agent.*", "kind": "http", "service_name": service(number), "path": "/events"}
    return Subscription.objects.get_or_create(name=f"bench-{number}", defaults=values)[0].pk


def _event(pk: int, number: int, now: datetime) -> dict[str, Any]:
    name = uuid.uuid4().hex
    body = {
        "specversion": "1.0",
        "id": name,
        "type": "created",
        "source": "L02_runtime",
        "subject": "agent.created",
        "data": {"agent": number},
    }
    at = now - SPACING * number
    return {
        "id": pk,
        "event_id": name,
        "topic": f"agent.t{number % 20}",
        "source": "L02_runtime",
        "body": body,
        "time": at,
        "created_at": at,
    }


def _delivery(pk: int, event: int, subscription: int, number: int, now: datetime) -> dict[str, Any]:
    at = now - SPACING * number
    history = [{"number": n, "at": at.isoformat(), "code": "E11143", "error": "KeyError: 'agent_id'"} for n in (1, 2, 3)]
    ids = {"id": pk, "event_id": event, "subscription_id": subscription}
    return ids | {"status": "dead", "attempts": 3, "due_at": at, "created_at": at, "finished_at": at, "history": history}


def _requests(count: int, now: datetime) -> None:
    rows = (
        {
            "service_name": service(n),
            "outcome": "unknown" if n % 20 == 0 else "ok",
            "duration_ms": float(n % 200),
            "trace_id": f"{n:032x}",
            "correlation_id": f"order-{n}",
            "created_at": now - SPACING * (count - n),
        }
        for n in range(count)
    )
    fill(RoutedRequest, rows, method="POST", path="/execute", status_code=200)


def _operator_actions(count: int, now: datetime) -> None:
    rows = ({"token": uuid.uuid4(), "at": now - SPACING * n, "subject_id": f"{n}", "by": f"operator-{n % 20}"} for n in range(count))
    fill(OperatorAction, rows, action="Retry from the failed step", subject="saga", reason="the disk is free", outcome="done")


def _services(now: datetime) -> None:
    rows = [
        Service(
            service_id=str(uuid.uuid4()),
            service_name=service(number),
            service_version="1.0",
            endpoint=f"http://127.0.0.1:{20_000 + number}",
            registered_at=now,
            status="unhealthy" if number % 10 == 0 else "healthy",
            status_since=now,
            tracker="g" * 50 + "bbgsgggggg",
            recent_ms=[float(n % 30) for n in range(60)],
        )
        for number in range(SERVICES)
    ]
    made = Service.objects.bulk_create(rows)
    changes = [
        HealthChange(service=row, kind="health", old_status="unknown", new_status=row.status, reason="probe", service_version="1.0", at=now)
        for row in made
        for _ in range(40)
    ]
    HealthChange.objects.bulk_create(changes)
