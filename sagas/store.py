"""Rows to states and back. A save succeeds only on the revision that was loaded (S15); the loser decides anew."""

from __future__ import annotations

import logging
import os
import random
import socket
import time
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F
from opentelemetry.sdk.trace import ReadableSpan

from hub import guarded, prepared
from hub.crashpoints import adopt, crash_point
from hub.errors import ErrorCode, IntegrationError
from hub.json_values import storable
from hub.telemetry import committed
from hub.telemetry.secrets import redactor
from hub.telemetry.values import Metric
from sagas import clock, columns, locks, machine, versions
from sagas.events import Event
from sagas.machine import Verdict
from sagas.models import SagaExecution, SagaStepExecution, SagaTransition
from sagas.spec import SagaSpec, from_dict
from sagas.states import ACTIVE, Change, RunState, SagaStatus

log = logging.getLogger(__name__)

MAX_TRIES = 12
_REASON_LENGTH = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A run as it stood at one revision."""

    row: SagaExecution
    spec: SagaSpec
    run: RunState
    seen_at: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """What an event did: the run before and after, and why it was ignored if it was."""

    row: SagaExecution
    spec: SagaSpec
    before: RunState
    run: RunState
    ignored: str = ""
    went_on: bool = False
    """Whether the second of two events was worked in as well."""

    def loaded(self) -> Loaded:
        """Return the run as this event left it; a save on it fails if somebody else was there since."""
        return Loaded(row=self.row, spec=self.spec, run=self.run)


def load(execution_id: uuid.UUID | str) -> Loaded:
    """Return a run with its steps; E11423 when there is none."""
    rows, steps = prepared.together(execution_id, _RUN, _STEPS)
    if not rows:
        raise IntegrationError(ErrorCode.EXECUTION_NOT_FOUND, f"no saga execution {execution_id}")
    return Loaded(row=rows[0], spec=_spec_of(rows[0]), run=columns.run_state(rows[0], tuple(steps)))


_RUN: prepared.Select[SagaExecution] = prepared.Select(
    lambda pk: SagaExecution.objects.filter(pk=pk).annotate(definition_hash=F("definition__hash")), by="id"
)
_STEPS = prepared.Select(
    lambda pk: SagaStepExecution.objects.filter(execution=pk).order_by("index"), by="execution", into=columns.step_state
)
_specs: dict[tuple[int, str], SagaSpec] = {}


def _spec_of(row: SagaExecution) -> SagaSpec:
    """Return the definition a run was started with, built once per process."""
    known = (row.definition_id, row.definition_hash)  # type: ignore[attr-defined]  # annotated by `_RUN`
    if known not in _specs:
        if len(_specs) > 1000:
            _specs.clear()
        _specs[known] = from_dict(row.definition.snapshot)
    return _specs[known]


def dispatch(
    execution_id: uuid.UUID | str, event: Event, *, actor: str = "", loaded: Loaded | None = None, then: Event | None = None
) -> Applied:
    """Work one event into a run: load, decide, save; again from the start when somebody else saved in between.

    `loaded` spares the first read to a caller that has just made it. `then` is worked in by the same commit if it is not ignored.

    Errors: E11423 for an unknown run, E11425 for a move that its state does not allow, E11426 when others kept winning.
    """
    for attempt in range(MAX_TRIES):
        loaded = loaded or load(execution_id)
        try:
            verdict, went_on = _decide(loaded, event, then)
        except machine.IllegalMove as exc:
            raise IntegrationError(ErrorCode.TRANSITION_ILLEGAL, f"saga {execution_id}: {exc}") from exc
        applied = Applied(row=loaded.row, spec=loaded.spec, before=loaded.run, run=verdict.run, ignored=verdict.ignored, went_on=went_on)
        if verdict.ignored:
            _keep_note(loaded, event, verdict.ignored, actor)
            return applied
        if save(loaded, verdict.run, verdict.changes, now=event.now, actor=actor):
            return applied
        loaded = None
        time.sleep(random.uniform(0, 0.005 * (attempt + 1)))  # noqa: S311  (spreads rivals, guards nothing)
    raise IntegrationError(ErrorCode.EXECUTION_LEASED, f"saga {execution_id} was changed by others {MAX_TRIES} times in a row")


def _decide(loaded: Loaded, event: Event, then: Event | None) -> tuple[Verdict, bool]:
    """Return what becomes of a run by an event, and by the next one if it is not ignored; and whether that one counts."""
    first = machine.apply(loaded.spec, loaded.run, event)
    if then is None or first.ignored:
        return first, False
    second = machine.apply(loaded.spec, first.run, then)
    if second.ignored:
        return first, False
    return Verdict(run=second.run, changes=(*first.changes, *second.changes)), True


def dispatch_patiently(execution_id: uuid.UUID | str, event: Event, *, loaded: Loaded, until: float, then: Event | None = None) -> Applied:
    """Work an event in as `dispatch` does, through an absence of the database that ends before `until`.

    What a step did is known only here: writing it late, within the lease, spares its target a second call.
    """
    is_repeat = False
    while True:
        try:
            stood = _stood(loaded, event) if is_repeat else None
            return stood or dispatch(execution_id, event, loaded=loaded, then=then)
        except (OperationalError, InterfaceError):
            is_repeat, then = True, None  # what was to follow was decided too long ago
            connection.close()
            if clock.now() >= until:
                raise
            log.warning("database away, the outcome of a step is kept and tried again", extra={"execution_id": str(execution_id)})
            time.sleep(random.uniform(0.2, 0.6))  # noqa: S311


def _stood(loaded: Loaded, event: Event) -> Applied | None:
    """Return what an event did if only the answer to its commit was lost: the history has its moment, from this process."""
    step = getattr(event, "step", None)
    mine = SagaTransition.objects.filter(execution=loaded.row.pk, at=clock.moment(event.now), actor=process_name())
    if step is None or not mine.filter(step_id=loaded.spec.steps[step].step_id).exists():
        return None
    now = load(loaded.row.pk)
    return Applied(row=now.row, spec=now.spec, before=loaded.run, run=now.run)


def save(loaded: Loaded, run: RunState, changes: tuple[Change, ...], *, now: float, actor: str = "") -> bool:
    """Write the run if nobody changed it since it was loaded; return whether this process won."""
    row, old = loaded.row, loaded.run
    values = columns.run_values(loaded.spec, run, now) | columns.marks(row, run, now)
    values = {name: value for name, value in values.items() if columns.differs(value, getattr(row, name))}
    moved = guarded.Change(
        model=SagaExecution, values={"revision": row.revision + 1, **values}, where={"id": row.pk, "revision": row.revision}
    )
    history = guarded.Insertion(model=SagaTransition, rows=_history(row.pk, loaded.spec, changes, now, actor))
    steps, point = _step_changes(row.pk, old, run), partial(crash_point, "saga.before_commit", row.pk)
    ends = run.status is not old.status and run.status not in ACTIVE
    with transaction.atomic() if ends else nullcontext():
        if not guarded.commit(moved, steps, history, before_commit=point):
            return False
        if ends:
            _on_end(row, run, now)
    crash_point("saga.after_commit", row.pk)
    _bring_up_to_date(row, values)
    return True


def _step_changes(pk: uuid.UUID, old: RunState, run: RunState) -> list[guarded.Change]:
    pairs = enumerate(zip(old.steps, run.steps, strict=True))
    return [
        guarded.Change(model=SagaStepExecution, values=columns.step_values(before, after), where={"execution_id": pk, "index": index})
        for index, (before, after) in pairs
        if before != after
    ]


def _on_end(row: SagaExecution, run: RunState, now: float) -> None:
    """Do what belongs into the commit that ends a run; one in front of an operator keeps its locks."""
    if run.status is not SagaStatus.NEEDS_OPERATOR:
        locks.release(row)
    committed.book(_counts_at_end(row, run, now))


def _counts_at_end(row: SagaExecution, run: RunState, now: float) -> list[Metric]:
    lasted_sec = max(0.0, now - row.created_at.timestamp())
    return [
        Metric("hub_sagas_total", "counter", 1, {"saga": row.saga_name, "status": run.status.value}),
        Metric("hub_saga_duration_seconds", "histogram", lasted_sec, {"saga": row.saga_name}),
    ]


def _bring_up_to_date(row: SagaExecution, values: dict[str, Any]) -> None:
    """Let the loaded row stand for the revision just written, so that its holder can decide on it without a new read."""
    row.revision += 1
    for name, value in values.items():
        setattr(row, name, value)


def _history(pk: uuid.UUID, spec: SagaSpec, changes: tuple[Change, ...], now: float, actor: str) -> list[dict[str, Any]]:
    """Return the rows of a run's history that tell of changes."""
    return [
        {
            "execution_id": pk,
            "at": clock.moment(now),
            "step_id": "" if change.step is None else spec.steps[change.step].step_id,
            "old": change.old,
            "new": change.new,
            "reason": storable(redactor().text(change.reason)[:_REASON_LENGTH]),
            "actor": actor or process_name(),
        }
        for change in changes
    ]


def _keep_note(loaded: Loaded, event: Event, why: str, actor: str) -> None:
    """Record a late reply (S20): the person who reads the history sees that it came, and that it changed nothing."""
    step = getattr(event, "step", None)
    if why != "late reply" or step is None:
        return
    status = loaded.run.steps[step].status.value
    direction = "undo" if loaded.run.status is SagaStatus.COMPENSATING else "do"
    with transaction.atomic():
        change = Change(step=step, old=status, new=status, reason=why)
        prepared.insert_values(SagaTransition, _history(loaded.row.pk, loaded.spec, (change,), event.now, actor))
        crash_point("note.before_commit", loaded.row.pk, direction, step)
    crash_point("note.after_commit", loaded.row.pk, direction, step)


def note(pk: uuid.UUID, text: str, actor: str) -> None:
    """Write a line into the history of a run without moving it."""
    SagaTransition.objects.create(
        execution_id=pk, at=clock.moment(clock.now()), old="", new="", reason=storable(redactor().text(text)[:_REASON_LENGTH]), actor=actor
    )


def create(
    spec: SagaSpec, run: RunState, *, now: float, spans: Sequence[ReadableSpan] = (), parent_epoch: int | None = None, **given: Any
) -> SagaExecution:
    """Insert a run with its steps, its count and its span in one transaction: from this commit on it is accepted, and will end.

    A child names the attempt of its parent's step that wants it; E11490 when that was given up, or the parent turned back.
    """
    version_id = versions.id_of(spec)
    crash_point("accept.version_stored")
    given |= columns.run_values(spec, run, now)
    row = SagaExecution(definition_id=version_id, saga_name=spec.saga_name, input=run.input, created_at=clock.moment(now), **given)
    steps = [
        SagaStepExecution(execution=row, index=i, step_id=step.step_id, step_name=step.step_name[:200], status=run.steps[i].status.value)
        for i, step in enumerate(spec.steps)
    ]
    created = Change(step=None, old="", new=run.status.value)
    with transaction.atomic():
        if parent_epoch is not None:
            _hold_parent(row, parent_epoch)
        prepared.insert([row], steps, [SagaTransition(**one) for one in _history(row.pk, spec, (created,), now, "")])
        if row.parent_id is not None:
            adopt(row.pk, row.parent_id)
        if spec.on_lock == "refuse":
            locks.insert(row, without=locks.inherited(row))
        committed.book([Metric("hub_sagas_started_total", "counter", 1, {"saga": spec.saga_name})], spans=spans)
        crash_point("accept.before_commit", row.pk)
    crash_point("accept.after_commit", row.pk)
    return row


def _hold_parent(child: SagaExecution, epoch: int) -> None:
    """Let nobody move the parent until the child is committed, and see that it still wants one.

    Whoever moves a run writes its row first, so a lock on that row holds its steps too.
    """
    about: dict[str, Any] = {"execution_id": child.parent_id, "index": child.parent_step, "epoch": epoch}
    parent = SagaExecution.objects.select_for_update(no_key=True).filter(pk=about["execution_id"], cause="")
    step = SagaStepExecution.objects.filter(lease_until__isnull=False, **about)
    if not (parent.exists() and step.exists()):
        raise IntegrationError(ErrorCode.FENCING_STALE, "the parent turned back, or gave the step up, before its child was started")


@lru_cache(maxsize=8)
def _process_name(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}"


def process_name() -> str:
    """Return ``host:pid`` of this process, forks included."""
    return _process_name(os.getpid())
