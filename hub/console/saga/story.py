"""What became of a run, in words: the cause first, then what stands, what was undone and what happens next (pure)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sagas.spec import SagaSpec
from sagas.states import RunState, SagaStatus, StepState, StepStatus

_S, _T = SagaStatus, StepStatus

_HEADLINES = {
    _S.PENDING: "Accepted, no step has begun",
    _S.RUNNING: "Going forward",
    _S.WAITING: "Waiting",
    _S.COMPENSATING: "Turned back, undoing what happened",
    _S.COMPLETED: "Completed",
    _S.COMPENSATED: "Compensated: everything that happened was undone",
    _S.FAILED: "Failed, and nothing was undone",
    _S.NEEDS_OPERATOR: "Needs an operator",
}
_NEXT = {
    _S.PENDING: "A worker picks it up by itself.",
    _S.RUNNING: "It goes on by itself; what fails is tried again, then undone.",
    _S.WAITING: "It goes on by itself as soon as what it waits for is there.",
    _S.COMPENSATING: "The undos go on by themselves; one that is used up comes back to an operator.",
    _S.COMPLETED: "Nothing more happens.",
    _S.COMPENSATED: "Nothing more happens. It may be run again as a new saga.",
    _S.FAILED: "Nothing happens by itself: its definition says not to undo. Retry it, or undo it now.",
    _S.NEEDS_OPERATOR: "Nothing happens until somebody decides.",
}
_SENT_ON = "It is sent on by itself when that is no longer so, or before if somebody decides."


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """Sentences about a run; the lists are names of steps in the order of the definition."""

    headline: str
    code: str
    because: str
    at_step: str
    stands: tuple[str, ...]
    undone: tuple[str, ...]
    in_doubt: tuple[str, ...]
    not_undone: tuple[str, ...]
    under_way: tuple[str, ...]
    what_next: str


def tell(spec: SagaSpec, run: RunState, *, run_again_as: object = None) -> Story:
    """Return what a person wants to know first; `run_again_as` is the run that stands on what this one did."""
    error = _error_to_show(run)

    def named(holds: Callable[[StepState], bool]) -> tuple[str, ...]:
        return tuple(step.step_name for step, state in zip(spec.steps, run.steps, strict=True) if holds(state))

    return Story(
        headline=_HEADLINES[run.status] + (f" ({run.cause.value.replace('_', ' ')})" if run.cause else ""),
        code=str(error.get("code", "")),
        because=run.blocked_reason or str(error.get("message", "")),
        at_step=str(error.get("step_id", "")),
        stands=named(lambda state: state.status is _T.COMPLETED),
        undone=named(lambda state: state.status is _T.COMPENSATED),
        in_doubt=named(lambda state: state.status is _T.UNKNOWN or (state.status is _T.SKIPPED and state.may_have_happened)),
        not_undone=named(lambda state: state.status is _T.COMPENSATION_FAILED),
        under_way=named(lambda state: state.status in (_T.RUNNING, _T.WAITING, _T.COMPENSATING)),
        what_next=_what_next(spec, run, run_again_as),
    )


def _what_next(spec: SagaSpec, run: RunState, run_again_as: object) -> str:
    if run_again_as is None or run.status not in (_S.FAILED, _S.NEEDS_OPERATOR):
        is_sent_on = run.status is _S.NEEDS_OPERATOR and run.blocked_at is not None and not spec.needs_its_caller
        return _SENT_ON if is_sent_on else _NEXT[run.status]
    return f"See to {run_again_as}: this saga was run again as that one, which stands on what it did, so it goes neither on nor back."


def _error_to_show(run: RunState) -> Any:
    """Return what stands in the way now: the undo that failed before the error that made the saga turn back."""
    if run.status is _S.NEEDS_OPERATOR:
        failed = next((state for state in run.steps if state.status is _T.COMPENSATION_FAILED and state.undo_error), None)
        if failed is not None:
            return failed.undo_error
    return run.error or {}


def redacted(story: Story, clean: Callable[[str], str]) -> Story:
    """Return the story with its error text cleaned."""
    return replace(story, because=clean(story.because))
