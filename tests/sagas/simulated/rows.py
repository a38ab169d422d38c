"""The simulated database: rows with a revision, and the one way to work an event into a run (as in `sagas.store`)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace

from sagas import events, machine, plan
from sagas.spec import SagaSpec
from sagas.states import ACTIVE, RunState, SagaStatus, StepState, StepStatus
from tests.sagas.history import Move
from tests.sagas.simulated.protections import Protections
from tests.sagas.simulated.world import GaveUp

PICKUP_SEC = 3.0
MAX_TRIES = 12


@dataclass(slots=True)
class Row:
    """A run as the database has it."""

    id: str
    spec: SagaSpec
    run: RunState
    revision: int = 0
    wake_at: float | None = 0.0
    moves: list[Move] = field(default_factory=list)

    @property
    def is_final(self) -> bool:
        return self.run.status not in ACTIVE


@dataclass(frozen=True, slots=True)
class Loaded:
    """A run as it stood at one revision; `ignored` says why the event that was tried on it changed nothing."""

    row: Row
    run: RunState
    revision: int
    ignored: str = ""

    @property
    def spec(self) -> SagaSpec:
        return self.row.spec


Saved = Generator[float, None, Loaded]


class Rows:
    """The rows, and the real machine behind them; protections that concern either are switched off here."""

    def __init__(self, protections: Protections) -> None:
        self.on = protections
        self.all: dict[str, Row] = {}

    def create(self, saga: str, spec: SagaSpec, *, owner_until: float | None) -> Loaded:
        run = machine.start(spec, input={}, now=0, timeout_sec=spec.timeout_sec, owner_until=owner_until)
        wake_at = plan.wake_at(spec, run, now=0, pickup_sec=PICKUP_SEC)
        first = Move(saga=saga, step="", old="", new=run.status)
        self.all[saga] = Row(id=saga, spec=spec, run=run, wake_at=wake_at, moves=[first])
        return self.load(saga)

    def load(self, saga: str) -> Loaded:
        row = self.all[saga]
        return Loaded(row, row.run, row.revision)

    def due(self, now: float) -> list[str]:
        """Return the runs that somebody must look at."""
        return [row.id for row in self.all.values() if not row.is_final and row.wake_at is not None and row.wake_at <= now]

    def next_wake(self) -> float | None:
        wakes = [row.wake_at for row in self.all.values() if not row.is_final and row.wake_at is not None]
        return min(wakes, default=None)

    def dispatch(self, saga: str, event: events.Event, loaded: Loaded | None = None) -> Saved:
        """Load, decide, save; again from the start when somebody else saved in between."""
        for _ in range(MAX_TRIES):
            loaded = loaded or self.load(saga)
            verdict = self._apply(loaded.spec, loaded.run, event)
            if verdict.ignored:
                return replace(loaded, ignored=verdict.ignored)
            yield 0
            saved = self._save(loaded, verdict, event.now)
            if saved:
                yield 0
                return saved
            loaded = None
        raise GaveUp(f"{saga} was changed by others {MAX_TRIES} times in a row")

    def work(self, loaded: Loaded, now: float) -> plan.Work | None:
        run = _mirrored(loaded.run) if self._shows_mirrored(loaded.run) else loaded.run
        return plan.work(loaded.spec, run, now=now)

    def _save(self, loaded: Loaded, verdict: machine.Verdict, now: float) -> Loaded | None:
        row = loaded.row
        if self.on.revision and row.revision != loaded.revision:
            return None
        row.run, row.revision = verdict.run, row.revision + 1
        row.wake_at = plan.wake_at(row.spec, row.run, now=now, pickup_sec=PICKUP_SEC)
        for change in verdict.changes:
            step = "" if change.step is None else row.spec.steps[change.step].step_id
            row.moves.append(Move(saga=row.id, step=step, old=change.old, new=change.new, reason=change.reason))
        return Loaded(row, row.run, row.revision)

    def _apply(self, spec: SagaSpec, run: RunState, event: events.Event) -> machine.Verdict:
        if not self.on.fence and isinstance(event, events.Succeeded | events.Failed | events.Held):
            event = replace(event, epoch=run.steps[event.step].epoch)
        if not self.on.doubt and isinstance(event, events.Failed):
            event = replace(event, outcome="failed")
        is_mirrored = self._shows_mirrored(run)
        verdict = machine.apply(spec, _mirrored(run) if is_mirrored else run, event)
        after = _mirrored(verdict.run) if is_mirrored else verdict.run
        verdict = replace(verdict, run=after)
        return verdict if self.on.doubt else _without_doubt(verdict)

    def _shows_mirrored(self, run: RunState) -> bool:
        """To have it undo forwards, the machine is shown the starts in the wrong order."""
        return not self.on.reverse and run.status is SagaStatus.COMPENSATING


def _mirrored(run: RunState) -> RunState:
    """Turn the order of starts round; done twice, it is as it was."""
    return replace(run, steps=tuple(_started_from_the_end(step, run.started) for step in run.steps))


def _started_from_the_end(step: StepState, started: int) -> StepState:
    return step if step.started_seq is None else replace(step, started_seq=started - 1 - step.started_seq)


def _without_doubt(verdict: machine.Verdict) -> machine.Verdict:
    """Forget that anything may have happened that was not heard of."""
    run = replace(verdict.run, steps=tuple(map(_certain, verdict.run.steps)))
    changes = [replace(change, new="failed") if change.new == "unknown" else change for change in verdict.changes]
    return replace(verdict, run=run, changes=tuple(changes))


def _certain(step: StepState) -> StepState:
    if step.status is StepStatus.UNKNOWN:
        return replace(step, status=StepStatus.FAILED, may_have_happened=False)
    return step if step.status is StepStatus.COMPLETED else replace(step, may_have_happened=False)
