"""What the page of one saga shows, read in a fixed number of queries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hub.console import audit, flower
from hub.console.models import OperatorAction
from hub.console.saga import drawing, gantt, messages, story
from hub.telemetry.redaction import Redactor
from hub.telemetry.secrets import known_secrets
from hub.telemetry.text import as_json
from registry_app.models import Service
from sagas import clock, reruns
from sagas.models import SagaExecution, SagaTransition
from sagas.states import ACTIVE, FINAL, SagaStatus
from sagas.store import Loaded

MAX_MOVES = 500
MAX_RELATED = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class StepLine:
    """A step as the page lists it; the texts are redacted."""

    step_id: str
    name: str
    status: str
    attempts: int
    undo_attempts: int
    served_by: str
    service: Service | None
    """The instance that served it, if it is still in the registry."""
    error: str
    undo_error: str
    output: str
    messages: list[messages.Message]
    """The Celery tasks of its attempts, where there is a Flower to show them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaPage:
    """Everything on the page but its actions."""

    row: SagaExecution
    version: str
    is_active: bool
    dry_run: str
    """What could turn this run back, by name; empty where nothing can."""
    story: story.Story
    since: datetime
    drawing: drawing.Drawing
    steps: list[StepLine]
    context: str
    input: str
    moves: list[SagaTransition]
    has_more_moves: bool
    children: list[SagaExecution]
    reruns: list[SagaExecution]
    actions: list[OperatorAction]


def turning_back(status: SagaStatus) -> str:
    """Return which action would undo a run as it stands; empty when it has ended well, one way or the other."""
    if status in ACTIVE:
        return "cancel"
    return "compensate" if status in (SagaStatus.FAILED, SagaStatus.NEEDS_OPERATOR) else ""


def build(loaded: Loaded) -> SagaPage:
    """Read what belongs to a run."""
    row, redactor = loaded.row, Redactor(known_secrets())
    run_again_as = reruns.stands_on(row)
    newest = list(SagaTransition.objects.filter(execution=row.pk).order_by("-id")[: MAX_MOVES + 1])
    moves = newest[:MAX_MOVES][::-1]
    return SagaPage(
        row=row,
        version=loaded.spec.version,
        is_active=loaded.run.status in ACTIVE,
        dry_run=turning_back(loaded.run.status) if run_again_as is None else "",
        story=story.redacted(story.tell(loaded.spec, loaded.run, run_again_as=run_again_as), redactor.text),
        since=_since(row, moves),
        drawing=_drawing(loaded, moves),
        steps=_steps(loaded, redactor),
        context=as_json(row.context, redactor),
        input=as_json(row.input, redactor),
        moves=[_redacted(move, redactor) for move in moves[::-1]],
        has_more_moves=len(newest) > MAX_MOVES,
        children=_related(parent=row.pk),
        reruns=_related(rerun_of=row.pk),
        actions=audit.of("saga", str(row.pk)),
    )


def _related(**of: Any) -> list[SagaExecution]:
    return list(SagaExecution.objects.filter(**of).only("id", "saga_name", "status").order_by("created_at")[:MAX_RELATED])


def _redacted(move: SagaTransition, redactor: Redactor) -> SagaTransition:
    move.reason = redactor.text(move.reason)
    return move


def _since(row: SagaExecution, moves: list[SagaTransition]) -> datetime:
    """Return when the run came to stand where it stands."""
    return next((move.at for move in reversed(moves) if not move.step_id and move.new == row.status), row.created_at)


def _drawing(loaded: Loaded, moves: list[SagaTransition]) -> drawing.Drawing:
    began_at = loaded.row.created_at.timestamp()
    made = [gantt.Move(step_id=m.step_id, at=m.at.timestamp(), old=m.old, new=m.new, reason=m.reason) for m in moves if m.step_id]
    now = max(clock.now(), began_at) if loaded.run.status in ACTIVE else (moves[-1].at.timestamp() if moves else began_at)
    steps = [step.step_id for step in loaded.spec.steps]
    sent_on = [m.at.timestamp() for m in moves if not m.step_id and m.old in FINAL and m.new in ACTIVE]
    return drawing.draw(gantt.chart(steps, made, ready_at=[began_at, *sent_on], now=now), began_at=began_at)


def _steps(loaded: Loaded, redactor: Redactor) -> list[StepLine]:
    services = Service.objects.in_bulk({state.served_by for state in loaded.run.steps if state.served_by}, field_name="service_id")
    sent = messages.by_step(loaded) if flower.url() else [[] for _ in loaded.spec.steps]
    return [
        StepLine(
            step_id=step.step_id,
            name=step.step_name,
            status=state.status.value,
            attempts=state.attempts,
            undo_attempts=state.undo_attempts,
            served_by=state.served_by,
            service=services.get(state.served_by),
            error=redactor.text(_words(state.error)),
            undo_error=redactor.text(_words(state.undo_error)),
            output="" if state.output is None else as_json(state.output, redactor),
            messages=tasks,
        )
        for step, state, tasks in zip(loaded.spec.steps, loaded.run.steps, sent, strict=True)
    ]


def _words(error: Any) -> str:
    return f"{error.get('code', '')}: {error.get('message', '')}" if error else ""
