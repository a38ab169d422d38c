"""What is wrong now, the worst first; each trouble leads to the page where it is put right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import redis
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from hub.celery import CONTROL
from hub.circuits import breaker, history
from hub.circuits import services as circuits
from hub.circuits.policy import CircuitState
from hub.circuits.snapshots import CircuitSnapshot
from hub.console import health, workers
from hub.console.queues import board
from hub.console.saga.presets import PRESETS
from hub.errors import IntegrationError
from hub.events import presence
from hub.events.models import DeadLetter
from hub.telemetry.redaction import Redactor
from hub.telemetry.secrets import known_secrets
from registry_app import overview as registry
from sagas.models import SagaExecution, SagaStepExecution
from sagas.states import StepStatus

SHOWN = 5
MANY = 1_000
_OPEN_STATES = (CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.FORCED_OPEN)
May = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One thing that is wrong."""

    name: str
    text: str
    url: str
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """A kind of trouble: how many, the first few, and the page with all; `count` stops at a thousand."""

    kind: str
    title: str
    count: int
    url: str
    items: list[Item]

    @property
    def is_urgent(self) -> bool:
        """Tell whether somebody should act: a saga that failed has ended, or is named before as one that needs an operator."""
        return self.kind != "failed-today"

    @property
    def counted(self) -> str:
        """Return the count as a person reads it."""
        return f"{self.count:,} or more" if self.count >= MANY else f"{self.count:,}"


def find(may: May) -> list[Trouble]:
    """Return what is wrong, of what this person may see."""
    return [trouble for trouble in look(may) if trouble.count]


def look(may: May) -> list[Trouble]:
    """Return every kind of trouble that this person may see, also those that there are none of."""
    return [trouble for permission, kinds in _LOOKS if not permission or may(permission) for trouble in kinds()]


def _database() -> Iterator[Trouble]:
    try:
        health.check_room()
    except IntegrationError as exc:
        url = reverse("console:error-code", args=[exc.code])
        item = Item(name=exc.message, text=exc.recovery_suggestion or "", url=url)
        yield Trouble(
            kind="database", title="The database takes no changes: nothing is accepted, and nothing goes on", count=1, url=url, items=[item]
        )


def _needing_an_operator() -> Iterator[Trouble]:
    yield _sagas("needs-operator", "Sagas that need an operator")


def _stuck() -> Iterator[Trouble]:
    yield _sagas("stuck", "Sagas that are stuck")


def _failed_today() -> Iterator[Trouble]:
    yield _sagas("failed-today", "Sagas that failed today")


def _sagas(preset: str, title: str) -> Trouble:
    rows = SagaExecution.objects.filter(PRESETS[preset].condition(timezone.now()))
    count = bounded_count(rows)
    columns = ("id", "saga_name", "status", "error", "blocked_reason", "created_at")
    newest = list(rows.only(*columns).order_by("-created_at")[:SHOWN]) if count else []
    in_the_way = _undo_errors(newest) if preset == "needs-operator" else {}
    redactor = Redactor(known_secrets())
    page = f"{reverse('admin:sagas_sagaexecution_changelist')}?{urlencode({'show': preset})}"
    items = [_saga(row, in_the_way.get(row.pk) or row.error or {}, redactor) for row in newest]
    return Trouble(kind=preset, title=title, count=count, url=page, items=items)


def _undo_errors(rows: list[SagaExecution]) -> dict[UUID, dict[str, Any]]:
    """Return what stands in the way of these rollbacks now, which is not what made them turn back."""
    failed = SagaStepExecution.objects.filter(execution__in=rows, status=StepStatus.COMPENSATION_FAILED.value, undo_error__isnull=False)
    found = failed.order_by("-index").values_list("execution_id", "undo_error") if rows else []
    return {execution_id: error or {} for execution_id, error in found}  # of several, the first step's: as on the saga's page


def _saga(row: SagaExecution, error: dict[str, Any], redactor: Redactor) -> Item:
    text = row.blocked_reason or f"{error.get('code', '')} {error.get('message', '')}".strip() or row.get_status_display()
    url = reverse("admin:sagas_sagaexecution_change", args=[row.pk])
    return Item(name=str(row), text=redactor.text(text)[:200], url=url, since=row.created_at)


def _dead_letters() -> Iterator[Trouble]:
    rows = DeadLetter.objects.filter(status=DeadLetter.Status.OPEN)
    count, redactor = bounded_count(rows), Redactor(known_secrets())
    newest = rows.select_related("subscription", "event").order_by("-last_at")[:SHOWN] if count else []
    items = [
        Item(
            name=f"{row.subscription.name}: {row.event.topic}",
            text=redactor.text(f"{row.error_code} {row.error}")[:200],
            url=reverse("admin:events_deadletter_change", args=[row.pk]),
            since=row.last_at,
        )
        for row in newest
    ]
    page = reverse("console:causes")
    yield Trouble(kind="dead-letters", title="Dead letters", count=count, url=page, items=items)


def _sick_services() -> Iterator[Trouble]:
    sick = [row for status in ("unhealthy", "degraded") for row in registry.sick_first(status=status, limit=MANY)]
    routed = [row for row in sick if not registry.is_in_maintenance(row)]
    items = [
        Item(
            name=f"{row.service_name} is {row.status}",
            text=row.reason or row.endpoint,
            url=reverse("admin:registry_service_change", args=[row.pk]),
            since=row.status_since,
        )
        for row in routed[:SHOWN]
    ]
    page = reverse("admin:registry_service_changelist")
    yield Trouble(kind="services", title="Services that are down or degraded", count=len(routed), url=page, items=items)


def _circuits() -> Iterator[Trouble]:
    away = [seen for seen in circuits.all_states() if seen.state in _OPEN_STATES]
    page = reverse("console:circuits")
    items = [
        Item(
            name=f"{seen.service_name} is {str(seen.state).replace('_', ' ')}{_until(seen)}",
            text=f"{seen.manual_by}: {seen.manual_why}" if seen.manual_by else seen.why.replace("_", " "),
            url=reverse("console:circuit", args=[seen.service_name]),
            since=history.last_move(seen.service_name),
        )
        for seen in away[:SHOWN]
    ]
    yield Trouble(kind="circuits", title="Circuit breakers that refuse calls", count=len(away), url=page, items=items)


def _until(seen: CircuitSnapshot) -> str:
    until_ms = seen.refused_until_ms
    return f" until {datetime.fromtimestamp(until_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC" if until_ms else ""


def _queues() -> Iterator[Trouble]:
    page = reverse("console:queues")
    try:
        workers.try_change()  # where it takes none, no worker, beat or relay can say that it lives
        seen = board.look()
    except redis.RedisError as exc:
        yield _redis(exc, page)
        return
    yield _of("redis", "Redis is away", page, None)
    orphans = [line for line in seen.queues if line.is_orphan]
    items = [Item(name=line.name, text=f"{line.ready} messages wait and no worker reads it", url=page) for line in orphans[:SHOWN]]
    yield Trouble(kind="orphans", title="Queues that nobody reads", count=len(orphans), url=page, items=items)
    unread = [Item(name=name, text="What waits in it does not run.", url=page, since=_last_read(seen, name)) for name in seen.unread]
    yield Trouble(kind="workers", title="Queues of the hub that no live worker reads", count=len(unread), url=page, items=unread)
    yield _of("beat", "Nothing is done by the clock", page, _beat_away(seen, page))
    yield _of("relay", "Nobody relays durable events", page, _relay_away(seen, page))


def _redis(exc: redis.RedisError, page: str) -> Trouble:
    url = reverse("console:error-code", args=["E11941"])
    if isinstance(exc, redis.ResponseError):
        item = Item(name="Redis takes no changes", text=str(exc), url=url)
        return Trouble(
            kind="redis",
            title="Redis is full, or a replica: nothing is queued, and who lives is not known",
            count=1,
            url=page,
            items=[item],
        )
    item = Item(name="Redis does not answer", text=type(exc).__name__, url=url, since=breaker.alone_since())
    return Trouble(kind="redis", title="Redis is away: breakers, queues and metrics are not known", count=1, url=page, items=[item])


def _of(kind: str, title: str, page: str, item: Item | None) -> Trouble:
    items = [item] if item else []
    return Trouble(kind=kind, title=title, count=len(items), url=page, items=items)


def _beat_away(seen: board.Board, page: str) -> Item | None:
    if seen.asked_sec_ago is not None or CONTROL in seen.unread:
        return None
    text = "No probes, no pruning, and nobody knows who reads which queue. Is `celery -A hub beat` running?"
    return Item(name="What beat sends is not done", text=text, url=page, since=_last_read(seen, CONTROL))


def _relay_away(seen: board.Board, page: str) -> Item | None:
    if presence.is_fresh(seen.relay_sec_ago):
        return None
    since = None if seen.relay_sec_ago is None else timezone.now() - timedelta(seconds=seen.relay_sec_ago)
    text = "Durable events wait, and so do answers to them. Is `manage.py relay` running?"
    return Item(name="No relay gives a sign of life", text=text, url=page, since=since)


def _last_read(seen: board.Board, queue: str) -> datetime | None:
    at = seen.last_read.get(queue)
    return None if at is None else datetime.fromtimestamp(at, UTC)


_LOOKS: tuple[tuple[str, Callable[[], Iterator[Trouble]]], ...] = (
    ("", _database),
    ("sagas.view_sagaexecution", _needing_an_operator),
    ("console.view_queues", _queues),
    ("sagas.view_sagaexecution", _stuck),
    ("circuits.view_circuitsetting", _circuits),
    ("registry.view_service", _sick_services),
    ("events.view_deadletter", _dead_letters),
    ("sagas.view_sagaexecution", _failed_today),
)


def bounded_count(rows: QuerySet[SagaExecution] | QuerySet[DeadLetter]) -> int:
    """Count up to a thousand: what lies beyond changes nothing about what to do."""
    return rows.order_by()[:MANY].count()
