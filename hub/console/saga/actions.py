"""What an operator may do to a saga; the machine itself says what it would accept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.urls import reverse

from hub.console.acting.shape import Action, Field, Given, Subject
from hub.errors import ErrorCode, IntegrationError
from sagas import clock, events, machine, operators, reruns, services, signals, store
from sagas.spec import SagaSpec
from sagas.states import ACTIVE, DONE, RunState, SagaStatus, StepStatus
from sagas.store import Loaded

_OUTCOMES = (SagaStatus.COMPENSATED.value, SagaStatus.COMPLETED.value)
Ask = Callable[..., dict[str, Any]]


def find(execution_id: str) -> Loaded:
    """Return a run; E11908 and E11423 when there is none."""
    return store.load(services.identifier(execution_id))


def standing(execution_id: str) -> dict[str, Any]:
    """Return how a run and its steps stand, for the record."""
    loaded = find(execution_id)
    steps = {step.step_id: state.status.value for step, state in zip(loaded.spec.steps, loaded.run.steps, strict=True)}
    return {"status": loaded.run.status.value, "revision": loaded.row.revision, "steps": steps}


def _accepts(spec: SagaSpec, run: RunState, event: events.Event) -> bool:
    """Ask the machine itself, so that what is offered and what is legal never disagree."""
    try:
        return not machine.apply(spec, run, event).ignored
    except machine.IllegalMove:
        return False


def _may_retry(spec: SagaSpec, run: RunState) -> bool:
    event = events.Retry(now=clock.now(), reason="", deadline_at=clock.now() + 1)
    return not spec.needs_its_caller and not operators.goes_back(spec, run) and _accepts(spec, run, event)


def _may_retry_undo(spec: SagaSpec, run: RunState) -> bool:
    return not spec.needs_its_caller and operators.goes_back(spec, run) and _may_compensate_at_all(spec, run)


def _may_compensate(spec: SagaSpec, run: RunState) -> bool:
    return not spec.needs_its_caller and not operators.goes_back(spec, run) and _may_compensate_at_all(spec, run)


def _may_compensate_at_all(spec: SagaSpec, run: RunState) -> bool:
    return _accepts(spec, run, events.Compensate(now=clock.now(), reason=""))


def _may_cancel(spec: SagaSpec, run: RunState) -> bool:
    return _accepts(spec, run, events.Cancel(now=clock.now(), reason=""))


def _may_resolve(spec: SagaSpec, run: RunState) -> bool:
    return _accepts(spec, run, events.Resolve(now=clock.now(), reason="", outcome=SagaStatus.COMPENSATED))


def _has_ended(spec: SagaSpec, run: RunState) -> bool:
    return not spec.needs_its_caller and run.status not in ACTIVE


def _awaited(spec: SagaSpec, run: RunState) -> list[str]:
    """Return the signals that steps wait for now."""
    return [step.waiting_for.removeprefix("signal:") for step in run.steps if step.waiting_for.startswith("signal:")]


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


def _call(ask: Ask, given: Given, **more: Any) -> str:
    return _in_words(ask(given.subject_id, reason=given.reason, actor=given.by, **more))


def _signal(execution_id: str, name: str, payload: dict[str, Any], by: str) -> str:
    answer = signals.give(execution_id, name, payload, actor=by)
    return f"saga {answer['execution_id']} is {answer['status']}"


def _in_words(answer: dict[str, Any]) -> str:
    return f"saga {answer['execution_id']} is {answer['status']}"


def _simply(ask: Ask) -> Callable[[Given], str]:
    return partial(_call, ask)


def _while(ask: Ask, *, undoing: bool) -> Callable[[Given], str]:
    """Keep apart what one function does forward and backward: who may do the one need not be allowed the other."""

    def call(given: Given) -> str:
        loaded = find(given.subject_id)
        if operators.goes_back(loaded.spec, loaded.run) is not undoing:
            way = "is not on its way back" if undoing else "is on its way back"
            raise IntegrationError(ErrorCode.TRANSITION_ILLEGAL, f"saga {given.subject_id} {way}")
        return _call(ask, given)

    return call


def _when(accepts: Callable[[SagaSpec, RunState], bool]) -> Callable[[Loaded], bool]:
    return lambda loaded: accepts(loaded.spec, loaded.run)


def _unless_run_again(accepts: Callable[[SagaSpec, RunState], bool]) -> Callable[[Loaded], bool]:
    """Offer nothing that would take away, or do beside it, what a run begun from this one stands on."""
    return lambda loaded: accepts(loaded.spec, loaded.run) and reruns.stands_on(loaded.row) is None


def _step_field(label: str, steps: Callable[[SagaSpec, RunState], list[str]]) -> Callable[[Loaded], Sequence[Field]]:
    return lambda loaded: [Field(name="step", label=label, kind="choice", choices=steps(loaded.spec, loaded.run))]


_CHANGES = Field(name="changes", label="Changes to the context (a JSON object, may stay empty)", kind="json", required=False)

_COMPENSATE = Action(
    name="compensate",
    label="Compensate now",
    permission="compensate_saga",
    explains="Undoes everything that happened or may have happened, the last started first.",
    call=_while(services.compensate, undoing=False),
    is_offered=_unless_run_again(_may_compensate),
)
_RETRY_UNDO = Action(
    name="retry-undo",
    label="Retry the undo",
    permission="retry_saga_undo",
    explains="Tries the undos that failed again, with all their attempts, then goes on with those still owed.",
    call=_while(services.retry, undoing=True),
    is_offered=_unless_run_again(_may_retry_undo),
)
_RETRY = Action(
    name="retry",
    label="Retry from the failed step",
    permission="retry_saga",
    explains="Goes forward again from the step that failed; steps that stand are not repeated. The time limit starts anew.",
    call=_while(services.retry, undoing=False),
    is_offered=_unless_run_again(_may_retry),
)
_SKIP = Action(
    name="skip",
    label="Skip a step",
    permission="skip_saga_step",
    explains="Goes on without a step, or without an undo, that you have dealt with by hand.",
    call=lambda given: _call(services.skip, given, step_id=given.values["step"]),
    is_offered=_unless_run_again(lambda spec, run: not spec.needs_its_caller and bool(_skippable(spec, run))),
    fields=_step_field("Step", _skippable),
)
_CANCEL = Action(
    name="cancel",
    label="Cancel",
    permission="cancel_saga",
    explains="No further step begins; the running one ends or times out, then everything is undone.",
    call=_simply(services.cancel),
    is_offered=_when(_may_cancel),
)
_RESOLVE = Action(
    name="resolve",
    label="Mark as put right by hand",
    permission="resolve_saga",
    explains="Ends the saga on your word. Nothing is called; the steps keep what is known of them.",
    call=lambda given: _call(services.resolve, given, outcome=given.values["outcome"]),
    is_offered=_when(_may_resolve),
    fields=lambda loaded: [Field(name="outcome", label="It counts as", kind="choice", choices=_OUTCOMES)],
)
_RERUN = Action(
    name="rerun",
    label="Run again from a step",
    permission="rerun_saga",
    explains="Starts a new saga with the context as it was before that step. This one stays as it is.",
    call=lambda given: _call(services.rerun, given, from_step=given.values["step"], changes=given.values["changes"]),
    is_offered=lambda loaded: _has_ended(loaded.spec, loaded.run) and reruns.still_open(loaded.row) is None,
    fields=lambda loaded: [*_step_field("From step", _rerunnable)(loaded), _CHANGES],
)
_SIGNAL = Action(
    name="signal",
    label="Give the signal",
    permission="signal_saga",
    explains="The step that waits for it ends, with what you give it, and the saga goes on.",
    call=lambda given: _signal(given.subject_id, given.values["signal"], given.values["payload"], given.by),
    is_offered=_when(lambda spec, run: run.status in ACTIVE and bool(_awaited(spec, run))),
    fields=lambda loaded: [
        Field(name="signal", label="Signal", kind="choice", choices=_awaited(loaded.spec, loaded.run)),
        Field(name="payload", label="What it brings (a JSON object, may stay empty)", kind="json", required=False),
    ],
)
SAGA = Subject(
    name="saga",
    view_permission="sagas.view_sagaexecution",
    find=find,
    id_of=lambda loaded: str(loaded.row.pk),
    look=standing,
    page=lambda execution_id: reverse("admin:sagas_sagaexecution_change", args=[execution_id]),
    actions=(_SIGNAL, _COMPENSATE, _RETRY_UNDO, _RETRY, _SKIP, _CANCEL, _RESOLVE, _RERUN),
)
