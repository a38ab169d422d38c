"""What an operator may do to a saga: what each action is called, who may, when it is offered, and what it calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from hub.console import audit
from hub.console.models import OperatorAction
from hub.errors import ErrorCode, IntegrationError
from sagas import clock, events, machine, services, store
from sagas.spec import SagaSpec
from sagas.states import ACTIVE, DONE, RunState, SagaStatus, StepStatus
from sagas.store import Loaded

_UNDOING = frozenset({StepStatus.COMPENSATING, StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED})
_OUTCOMES = (SagaStatus.COMPENSATED.value, SagaStatus.COMPLETED.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What the form of an action brought."""

    execution_id: str
    reason: str
    by: str
    choice: str = ""
    changes: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaAction:
    """`choices` are what the form lets choose from; None: the action has nothing to choose, empty: it is not offered."""

    name: str
    label: str
    permission: str
    explains: str
    call: Callable[[Given], Any]
    is_offered: Callable[[SagaSpec, RunState], bool]
    choice_label: str = ""
    choices: Callable[[SagaSpec, RunState], list[str]] | None = None
    takes_changes: bool = False


def offered(loaded: Loaded, *, may: Callable[[str], bool]) -> list[tuple[SagaAction, list[str]]]:
    """Return the actions that the machine would accept now and the person may do, each with its choices."""
    found = []
    for action in ACTIONS.values():
        choices = action.choices(loaded.spec, loaded.run) if action.choices else []
        if may(f"console.{action.permission}") and action.is_offered(loaded.spec, loaded.run) and bool(choices) == bool(action.choices):
            found.append((action, choices))
    return found


def do(action: SagaAction, given: Given, *, token: UUID) -> OperatorAction:
    """Carry an action out, once for each token, and return what became of it."""
    wish = audit.Wish(token=token, by=given.by, action=action.label, subject="saga", subject_id=given.execution_id, reason=given.reason)
    return audit.carry_out(wish, lambda: _result(action.call(given)), lambda: standing(given.execution_id))


def _result(answer: dict[str, Any]) -> str:
    return f"saga {answer['execution_id']} is {answer['status']}"


def standing(execution_id: str) -> dict[str, Any]:
    """Return how a run and its steps stand, for the record."""
    loaded = store.load(execution_id)
    steps = {step.step_id: state.status.value for step, state in zip(loaded.spec.steps, loaded.run.steps, strict=True)}
    return {"status": loaded.run.status.value, "revision": loaded.row.revision, "steps": steps}


def _accepts(spec: SagaSpec, run: RunState, event: events.Event) -> bool:
    """Ask the machine itself, so that what is offered and what is legal never disagree."""
    try:
        return not machine.apply(spec, run, event).ignored
    except machine.IllegalMove:
        return False


def _is_undoing(run: RunState) -> bool:
    return any(step.status in _UNDOING for step in run.steps)


def _has_its_functions(spec: SagaSpec) -> bool:
    """Tell whether workers can run it: closures of a process that is gone cannot be."""
    return not any(call and call.kind == "local" for step in spec.steps for call in (step.do, step.undo))


def _may_retry(spec: SagaSpec, run: RunState) -> bool:
    event = events.Retry(now=clock.now(), reason="", deadline_at=clock.now() + 1)
    return _has_its_functions(spec) and not _is_undoing(run) and _accepts(spec, run, event)


def _may_retry_undo(spec: SagaSpec, run: RunState) -> bool:
    return _has_its_functions(spec) and _is_undoing(run) and _may_compensate_at_all(spec, run)


def _may_compensate(spec: SagaSpec, run: RunState) -> bool:
    return _has_its_functions(spec) and not _is_undoing(run) and _may_compensate_at_all(spec, run)


def _may_compensate_at_all(spec: SagaSpec, run: RunState) -> bool:
    return _accepts(spec, run, events.Compensate(now=clock.now(), reason=""))


def _may_cancel(spec: SagaSpec, run: RunState) -> bool:
    return _accepts(spec, run, events.Cancel(now=clock.now(), reason=""))


def _may_resolve(spec: SagaSpec, run: RunState) -> bool:
    return _accepts(spec, run, events.Resolve(now=clock.now(), reason="", outcome=SagaStatus.COMPENSATED))


def _has_ended(spec: SagaSpec, run: RunState) -> bool:
    return _has_its_functions(spec) and run.status not in ACTIVE


def _skippable(spec: SagaSpec, run: RunState) -> list[str]:
    now = clock.now()
    return [
        step.step_id
        for index, step in enumerate(spec.steps)
        if run.steps[index].status is not StepStatus.PENDING
        and _accepts(spec, run, events.Skip(step=index, now=now, reason="", deadline_at=now + 1))
    ]


def _rerunnable(spec: SagaSpec, run: RunState) -> list[str]:
    """Return the steps before which every step stands."""
    standing_steps = next((i for i, step in enumerate(run.steps) if step.status not in DONE), len(run.steps) - 1)
    return [step.step_id for step in spec.steps[: standing_steps + 1]]


def _changes(text: str) -> dict[str, Any]:
    try:
        changes = json.loads(text or "{}")
    except ValueError as exc:
        raise IntegrationError(ErrorCode.JSON_MALFORMED, f"the changes are not JSON: {exc}") from exc
    if not isinstance(changes, dict):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"the changes must be a JSON object, not {type(changes).__name__}")
    return changes


_ALL = (
    SagaAction(
        name="compensate",
        label="Compensate now",
        permission="compensate_saga",
        explains="Undoes everything that happened or may have happened, the last started first.",
        call=lambda g: services.compensate(g.execution_id, reason=g.reason, actor=g.by),
        is_offered=_may_compensate,
    ),
    SagaAction(
        name="retry-undo",
        label="Retry the undo",
        permission="retry_saga_undo",
        explains="Tries the undos that failed again, with all their attempts, then goes on with those still owed.",
        call=lambda g: services.retry(g.execution_id, reason=g.reason, actor=g.by),
        is_offered=_may_retry_undo,
    ),
    SagaAction(
        name="retry",
        label="Retry from the failed step",
        permission="retry_saga",
        explains="Goes forward again from the step that failed; steps that stand are not repeated. The time limit starts anew.",
        call=lambda g: services.retry(g.execution_id, reason=g.reason, actor=g.by),
        is_offered=_may_retry,
    ),
    SagaAction(
        name="skip",
        label="Skip a step",
        permission="skip_saga_step",
        explains="Goes on without a step, or without an undo, that you have dealt with by hand.",
        call=lambda g: services.skip(g.execution_id, g.choice, reason=g.reason, actor=g.by),
        is_offered=lambda spec, run: _has_its_functions(spec),
        choice_label="Step",
        choices=_skippable,
    ),
    SagaAction(
        name="cancel",
        label="Cancel",
        permission="cancel_saga",
        explains="No further step begins; the running one ends or times out, then everything is undone.",
        call=lambda g: services.cancel(g.execution_id, reason=g.reason, actor=g.by),
        is_offered=_may_cancel,
    ),
    SagaAction(
        name="resolve",
        label="Mark as put right by hand",
        permission="resolve_saga",
        explains="Ends the saga on your word. Nothing is called; the steps keep what is known of them.",
        call=lambda g: services.resolve(g.execution_id, g.choice, reason=g.reason, actor=g.by),
        is_offered=_may_resolve,
        choice_label="It counts as",
        choices=lambda spec, run: list(_OUTCOMES),
    ),
    SagaAction(
        name="rerun",
        label="Run again from a step",
        permission="rerun_saga",
        explains="Starts a new saga with the context as it was before that step. This one stays as it is.",
        call=lambda g: services.rerun(g.execution_id, g.choice, reason=g.reason, changes=_changes(g.changes), actor=g.by),
        is_offered=_has_ended,
        choice_label="From step",
        choices=_rerunnable,
        takes_changes=True,
    ),
)
ACTIONS: Mapping[str, SagaAction] = {action.name: action for action in _ALL}
