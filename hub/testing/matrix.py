"""Run a saga once for every kill it needs, side by side on one rig, and judge every run."""

from __future__ import annotations

import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hub.crashpoints import ANY
from hub.error_codes import ErrorCode
from hub.testing import book, nudges, passages
from hub.testing.judge import Found, Line, judge
from hub.testing.rig import Rig, wait_until
from hub.testing.values import Case, Passage, Scope, Violation
from sagas.states import FINAL

AT_ONCE: Mapping[Scope, int] = {"process": 8, "group": 2}
"""How many runs are under way at a time: enough to hide the waits, few enough that a worker is left alive."""

TRIES = 3
"""A run that somebody else's kill drove past its own place is made again, this often in all."""

AT_START = ("accept.version_stored", "accept.before_commit", "accept.after_commit", "chain.before_send", "chain.after_send")
"""Points that the first process of a run passes, before anybody knows the run's id."""

START_SEC = 5.0
_FINAL = {status.value for status in FINAL}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plan:
    """One kill to be made: of the saga that workers know as `saga_name`, started with `context`."""

    saga_name: str
    context: Mapping[str, Any]
    passage: Passage
    scope: Scope
    at_start: bool = False


@dataclass(slots=True)
class _Run:
    plan: Plan
    execution_id: str
    order: Path
    give_up_at: float


def _leave_alone(execution_id: str) -> None:
    """Most sagas need nobody."""


def _any_end(loaded: Any) -> None:
    """A saga may be made to end in any way."""


class UnfitError(Exception):
    """A saga that does not do what it is to do though nobody dies: what kills of it showed would be worth nothing."""


class Matrix:
    """Kills of sagas on one rig.

    `read_book` gives a run's book of effects; the tool's own by default. `nudge` is called again and again with the id of
    every run under way: it gives the run what it waits for from outside, such as a signal.
    """

    def __init__(
        self,
        rig: Rig,
        *,
        end_sec: float,
        read_book: Callable[[str], Sequence[Line]] = book.read,
        nudge: Callable[[str], None] = _leave_alone,
    ) -> None:
        self.rig, self.end_sec, self.read_book, self.nudge = rig, end_sec, read_book, nudge
        self._keeps_book: dict[str, frozenset[str]] = {}

    def passages(self, saga_name: str, context: Mapping[str, Any], *, check: Callable[[Any], None] = _any_end) -> list[Passage]:
        """Run the saga twice undisturbed and return what it passed, from its first message on.

        The shorter trace counts: where the machine was slow, a sweeper may have passed a point that is not always passed.
        `UnfitError` if what a step waits for does not come, or a run does not end in time; `check` gets the loaded run and
        may raise it too.
        """
        return min((self._trace(saga_name, context, check) for _ in range(2)), key=len)

    def _trace(self, saga_name: str, context: Mapping[str, Any], check: Callable[[Any], None]) -> list[Passage]:
        run = self._accept(Plan(saga_name=saga_name, context=context, passage=_NOWHERE, scope="process"), trace=True)
        try:
            wait_until(lambda: self._has_ended(run), timeout_sec=self.end_sec, what=f"end of {saga_name} without any kill")
        except TimeoutError as exc:
            raise UnfitError(f"{exc}; it waits for {', '.join(nudges.waits_of(run.execution_id)) or 'nothing'}") from None
        _check_waits(_loaded(run.execution_id))
        check(_loaded(run.execution_id))
        self._keeps_book[saga_name] = frozenset(line["step"] for line in self.read_book(run.execution_id) if line["kind"] == "action")
        return passages.read(_trace_of(run.order).read_text(), [step.step_id for step in _loaded(run.execution_id).spec.steps])

    def run(self, plans: Iterable[Plan]) -> Iterator[Case]:
        """Make every kill and yield how each run ended; those at the start of a run come one after another."""
        waiting, running, tries = deque(plans), list[_Run](), Counter[Plan]()
        while waiting or running:
            while waiting and len(running) < AT_ONCE[waiting[0].scope]:
                running.append(self._begin(waiting.popleft()))
            for run in [run for run in running if self._is_over(run)]:
                running.remove(run)
                case, tries[run.plan] = self._judged(run), tries[run.plan] + 1
                if case.fell or case.violations or tries[run.plan] >= TRIES:
                    yield case
                else:
                    waiting.append(run.plan)
            time.sleep(0.05)

    @property
    def _orders(self) -> Path:
        return self.rig.orders

    def _begin(self, plan: Plan) -> _Run:
        return self._start_through_worker(plan) if plan.at_start else self._accept(plan)

    def _accept(self, plan: Plan, *, trace: bool = False) -> _Run:
        """Store the run, leave its order, and only then send its first message."""
        from sagas import accept, catalog, chain, clock

        request = accept.Request(context=dict(plan.context), idempotency_key=str(uuid.uuid4()))
        row, _ = accept.accept(catalog.find(plan.saga_name), request)
        run = self._as_run(plan, str(row.pk))
        _trace_of(run.order).touch()
        if not trace:
            run.order.write_text(_order(plan))
        loaded = _loaded(row.pk)
        chain.send_rest(str(row.pk), loaded.spec, loaded.run, now=clock.now())
        return run

    def _start_through_worker(self, plan: Plan) -> _Run:
        """Ask a worker to start the run as a layer would, and ask again under the same key when it dies of it."""
        from hub.celery import app

        order, key = self._orders / ANY, str(uuid.uuid4())
        order.write_text(_order(plan))
        kwargs = {"saga_name": plan.saga_name, "context": dict(plan.context), "idempotency_key": key}
        app.send_task("hub.sagas.start", kwargs=kwargs, queue="hub")
        wait_until(lambda: not order.exists(), timeout_sec=self.end_sec, what=f"kill at {plan.passage.point} when a run starts")
        answer = wait_until(lambda: _asked_again(app, kwargs), timeout_sec=self.end_sec, what="start under the same key")
        taken = _taken(order)
        run = self._as_run(plan, answer["execution_id"])
        taken.rename(_taken(run.order))
        return run

    def _as_run(self, plan: Plan, execution_id: str) -> _Run:
        return _Run(plan, execution_id, self._orders / execution_id, time.monotonic() + self.end_sec)

    def _is_over(self, run: _Run) -> bool:
        return self._has_ended(run) or time.monotonic() > run.give_up_at

    def _has_ended(self, run: _Run) -> bool:
        if self._status(run) in _FINAL:
            return True
        self.nudge(run.execution_id)
        return False

    def _status(self, run: _Run) -> str:
        from sagas.models import SagaExecution

        return SagaExecution.objects.values_list("status", flat=True).get(pk=run.execution_id)

    def _judged(self, run: _Run) -> Case:
        loaded = _loaded(run.execution_id)
        fell = _taken(run.order).exists()
        found = self.found(run.execution_id, run.plan.saga_name)
        return Case(
            saga_name=run.plan.saga_name,
            passage=run.plan.passage,
            scope=run.plan.scope,
            execution_id=run.execution_id,
            status=loaded.row.status,
            fell=fell,
            recovery_sec=_recovery_sec(_taken(run.order), loaded.row.finished_at) if fell else None,
            context=loaded.row.context,
            passed=() if fell else _passed(run),
            violations=[*judge(found), *_breaks(run.execution_id)],
        )

    def found(self, execution_id: str, saga_name: str) -> Found:
        """Return a run as rows and book tell it."""
        loaded = _loaded(execution_id)
        steps = {step.step_id: state.status.value for step, state in zip(loaded.spec.steps, loaded.run.steps, strict=True)}
        keeps = self._keeps_book.get(saga_name, frozenset())
        return Found(spec=loaded.spec, status=loaded.row.status, steps=steps, book=self.read_book(execution_id), keeps_book=keeps)


def _check_waits(loaded: Any) -> None:
    error = loaded.row.error or {}
    waits = {step.step_id for step in loaded.spec.steps if step.do.kind == "wait"}
    if error.get("code") == ErrorCode.STEP_TIMED_OUT and error.get("step_id") in waits:
        raise UnfitError(f"step {error['step_id']} of {loaded.row.saga_name} waits in vain: {error['message']}")


_NOWHERE = Passage(point="", nth=1, direction="do", step="", position="")


def plans(
    saga_name: str,
    context: Mapping[str, Any],
    found: Sequence[Passage],
    *,
    scopes: Sequence[Scope],
    directions: Sequence[str],
    everywhere: bool = False,
) -> list[Plan]:
    """Return a kill for every passage at the first, a middle and the last step of these directions, or at every step."""
    wanted = [passage for passage in found if passage.direction in directions and (passage.position or everywhere)]
    return [
        Plan(saga_name=saga_name, context=context, passage=passage, scope=scope)
        for passage in wanted
        for scope in scopes
        if not (passage.point == "chain.after_send" and passage.direction == "do" and passage.position == "first")
        if not (passage.point == "chain.before_send" and passage.direction == "do" and passage.position == "first")
    ]


def plans_at_start(saga_name: str, context: Mapping[str, Any], *, scopes: Sequence[Scope]) -> list[Plan]:
    """Return a kill for every point that the process passes that starts a run."""
    where = replace(_NOWHERE, direction="do", position="first")
    return [
        Plan(saga_name=saga_name, context=context, passage=replace(where, point=point), scope=scope, at_start=True)
        for point in AT_START
        for scope in scopes
    ]


def _order(plan: Plan) -> str:
    return f"{plan.passage.point} {plan.passage.place} {plan.passage.nth} {plan.scope}"


def _taken(order: Path) -> Path:
    return order.with_name(f"{order.name}.taken")


def _trace_of(order: Path) -> Path:
    return order.with_name(f"{order.name}.trace")


def _passed(run: _Run) -> tuple[str, ...]:
    """Return how often the run passed the point where somebody was to die, place by place."""
    trace = _trace_of(run.order)
    lines = Counter(trace.read_text().splitlines() if trace.exists() else ())
    return tuple(f"{line} x{count}" for line, count in lines.items() if line.startswith(f"{run.plan.passage.point} "))


def _loaded(execution_id: Any) -> Any:
    from sagas import store

    return store.load(execution_id)


def _asked_again(app: Any, kwargs: Mapping[str, Any]) -> Any:
    from celery.exceptions import TimeoutError as NoAnswer

    try:
        return app.send_task("hub.sagas.start", kwargs=kwargs, queue="hub").get(timeout=START_SEC)
    except NoAnswer:
        return None


def _recovery_sec(taken: Path, finished_at: Any) -> float | None:
    return None if finished_at is None else max(0.0, round(finished_at.timestamp() - taken.stat().st_mtime, 3))


def _breaks(execution_id: str) -> list[Violation]:
    """Hold the history against the tables of legal moves: each follows the one before it."""
    from sagas.models import SagaTransition
    from sagas.states import SAGA_MOVES, SagaStatus

    at, found = "", []
    for old, new in (
        SagaTransition.objects.filter(execution_id=uuid.UUID(execution_id), step_id="").order_by("id").values_list("old", "new")
    ):
        legal = (old, new) == ("", "pending") or (old and SagaStatus(new) in SAGA_MOVES[SagaStatus(old)])
        if old != at or not legal:
            found.append(Violation(kind="lied", text=f"history says {old} -> {new} where the run was {at or 'not there'}"))
        at = new
    return found
