"""Short words for the tests of the machine: build a saga, then tell what happens to one run of it, event by event."""

from __future__ import annotations

from typing import Any

from sagas import events, machine, plan
from sagas.machine import Verdict
from sagas.spec import Call, CallKind, RetryPolicy, SagaSpec, StepKind, StepSpec
from sagas.states import Direction, RunState, SagaStatus

DO, UNDO = Direction.DO, Direction.UNDO
GRACE_SEC = 5.0
PICKUP_SEC = 4.0
START = 1000.0
ERROR = {"code": "E11440", "message": "no luck"}
FUNCTION = Call(kind="function", target="shop.steps:work")


def step(
    step_id: str,
    *,
    undo: bool = True,
    required: bool = True,
    max_retries: int = 0,
    undo_max_retries: int = 1,
    kind: StepKind = "compensatable",
    group: str = "",
    verify: bool = False,
    do: tuple[CallKind, str] | None = None,
) -> StepSpec:
    """Return a step of at most 10 s whose retries wait 1, 2, 4, ... s (halved by a jitter of 1)."""
    return StepSpec(
        step_id=step_id,
        step_name=step_id,
        do=Call(kind=do[0], target=do[1]) if do else FUNCTION,
        undo=FUNCTION if undo else None,
        timeout_sec=10,
        undo_timeout_sec=20,
        retry=RetryPolicy(max_retries=max_retries, delay_sec=1, backoff=2, max_delay_sec=60),
        undo_retry=RetryPolicy(max_retries=undo_max_retries, delay_sec=1, backoff=2, max_delay_sec=60),
        required=required,
        kind=kind,
        parallel_group=group,
        verify=FUNCTION if verify else None,
    )


def wait(target: str, *, required: bool = True, step_id: str = "w") -> StepSpec:
    """Return a step that only waits, for at most 10 s."""
    return step(step_id, undo=False, required=required, do=("wait", target))


def saga(*steps: StepSpec, auto_compensate: bool = True, timeout_sec: float = 100) -> SagaSpec:
    return SagaSpec(saga_name="story", version="1", steps=steps, timeout_sec=timeout_sec, auto_compensate=auto_compensate)


def abc(**options: Any) -> SagaSpec:
    """Return three plain steps a, b, c."""
    return saga(step("a", **options), step("b", **options), step("c", **options))


class Story:
    """One run. Each method is something that happens to it; `now` is the database's clock."""

    def __init__(self, *steps: StepSpec, spec: SagaSpec | None = None, owner_until: float | None = None, **options: Any) -> None:
        self.spec = spec or saga(*steps, **options)
        self.now = START
        self.run: RunState = machine.start(
            self.spec, input={"order": 7}, now=self.now, timeout_sec=self.spec.timeout_sec, owner_until=owner_until
        )
        self.last = Verdict(run=self.run)

    # --- what happens -----------------------------------------------------------------------------------------------

    def apply(self, event: events.Event) -> Verdict:
        self.last = machine.apply(self.spec, self.run, event)
        self.run = self.last.run
        return self.last

    def offers(self, index: int, direction: Direction = DO, **fields: Any) -> Verdict:
        """Let a worker ask for a step, which it may not get."""
        limit = self.spec.steps[index].limit_sec(direction)
        claim = {"step": index, "direction": direction, "now": self.now, "limit_sec": limit, "grace_sec": GRACE_SEC}
        return self.apply(events.Claim(**{**claim, **fields}))

    def claims(self, index: int, direction: Direction = DO, **fields: Any) -> int:
        """Let a worker take a step; return the epoch it was given."""
        assert not self.offers(index, direction, **fields).ignored, self.last.ignored
        return self.run.steps[index].epoch

    def renews(self, index: int, *, until: float, epoch: int | None = None) -> Verdict:
        epoch = self.run.steps[index].epoch if epoch is None else epoch
        return self.apply(events.Renewed(step=index, epoch=epoch, now=self.now, until=until))

    def succeeds(self, index: int, output: Any = None, *, epoch: int | None = None, served_by: str = "") -> Verdict:
        epoch = self.run.steps[index].epoch if epoch is None else epoch
        return self.apply(events.Succeeded(step=index, epoch=epoch, now=self.now, output=output, served_by=served_by))

    def fails(self, index: int, outcome: events.Outcome = "failed", *, epoch: int | None = None, **fields: Any) -> Verdict:
        epoch = self.run.steps[index].epoch if epoch is None else epoch
        return self.apply(events.Failed(**{"step": index, "epoch": epoch, "now": self.now, "outcome": outcome, "error": ERROR, **fields}))

    def is_held(self, index: int, *, until: float, epoch: int | None = None) -> Verdict:
        epoch = self.run.steps[index].epoch if epoch is None else epoch
        return self.apply(events.Held(step=index, epoch=epoch, now=self.now, until=until, reason="circuit open"))

    def verifies(self, index: int, answer: events.Answer, *, epoch: int | None = None) -> Verdict:
        epoch = self.run.steps[index].epoch if epoch is None else epoch
        return self.apply(events.Verified(step=index, epoch=epoch, now=self.now, answer=answer))

    def does(self, *indexes: int) -> None:
        for index in indexes:
            self.claims(index)
            self.succeeds(index)

    def undoes(self, *indexes: int) -> None:
        for index in indexes:
            self.claims(index, UNDO)
            self.succeeds(index)

    def ends(self, index: int, outcome: events.Outcome, direction: Direction = DO) -> None:
        """Let a worker take a step and fail it."""
        self.claims(index, direction)
        self.fails(index, outcome)

    def passes(self, seconds: float) -> None:
        self.now += seconds

    def ticks(self, after: float = 0.0, *, by_owner: bool = False) -> Verdict:
        self.now += after
        return self.apply(events.Tick(now=self.now, by_owner=by_owner))

    def is_cancelled(self) -> Verdict:
        return self.apply(events.Cancel(now=self.now, reason="changed my mind"))

    def is_blocked(self, patience_sec: float = 30) -> Verdict:
        return self.apply(events.Blocked(now=self.now, patience_sec=patience_sec, error={"code": "E11431", "message": "nobody knows it"}))

    def is_retried(self) -> Verdict:
        return self.apply(events.Retry(now=self.now, reason="try again", deadline_at=self.now + 100))

    def is_turned_back(self, *, by_parent: bool = False) -> Verdict:
        return self.apply(events.Compensate(now=self.now, reason="give up", by_parent=by_parent))

    def skips(self, index: int) -> Verdict:
        return self.apply(events.Skip(step=index, now=self.now, reason="done by hand", deadline_at=self.now + 100))

    def is_resolved(self, outcome: SagaStatus) -> Verdict:
        return self.apply(events.Resolve(now=self.now, reason="put right", outcome=outcome))

    def hears(self, name: str, payload: Any = None) -> Verdict:
        return self.apply(events.Signal(name=name, now=self.now, payload=payload))

    def learns(self, name: str, payload: Any = None, *, event_id: str = "e1", is_its_own: bool = False) -> Verdict:
        """Let an event of the bus be delivered."""
        return self.apply(events.EventCame(name=name, event_id=event_id, now=self.now, payload=payload, is_its_own=is_its_own))

    def beats(self, until: float) -> Verdict:
        return self.apply(events.OwnerBeat(now=self.now, until=until))

    # --- how it stands ----------------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        return self.run.status.value

    @property
    def steps(self) -> str:
        """Return the states of the steps as one line: ``completed running pending``."""
        return " ".join(state.status.value for state in self.run.steps)

    @property
    def work(self) -> plan.Work | None:
        return plan.work(self.spec, self.run, now=self.now)

    @property
    def wake_in(self) -> float | None:
        """Return after how many seconds somebody must look."""
        wake = plan.wake_at(self.spec, self.run, now=self.now, pickup_sec=PICKUP_SEC)
        return None if wake is None else wake - self.now

    def undo_order(self) -> list[str]:
        """Undo all that is owed; return the steps in the order in which the machine handed them out."""
        order = []
        while (work := self.work) and work.direction is UNDO:
            order.append(self.spec.steps[work.steps[0]].step_id)
            self.undoes(work.steps[0])
        return order


def moves_of(verdict: Verdict) -> list[str]:
    """Return the moves of a verdict as ``old -> new``."""
    return [f"{change.old} -> {change.new}" for change in verdict.changes]


def turned_back(*steps: StepSpec, done: tuple[int, ...] = ()) -> Story:
    """Return a saga that did some steps and was then cancelled, before its last step z."""
    story = Story(*steps, step("z"))
    story.does(*done)
    story.is_cancelled()
    return story
