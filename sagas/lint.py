"""What a list of steps must keep as a whole: the order around a pivot (S12) and neighbourhood in a group (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import get_args

from hub.errors import ErrorCode, IntegrationError
from sagas.spec import StepKind
from sagas.steps import SagaStep


def check_groups(steps: Sequence[SagaStep]) -> None:
    """Refuse a group whose members are not neighbours (E11416): the order of the list is the order of the saga."""
    runs = [name for name, _ in groupby(step.parallel_group for step in steps) if name]
    twice = next((name for name in runs if runs.count(name) > 1), None)
    if twice:
        raise IntegrationError(ErrorCode.PARALLEL_GROUP_INVALID, f"the steps of parallel group {twice!r} are not neighbours")


def check_pivot(steps: Sequence[SagaStep]) -> None:
    """Refuse an order in which the saga could neither go on nor turn back (E11415)."""
    unknown = next((step for step in steps if step.kind not in get_args(StepKind)), None)
    if unknown:
        raise _refused(unknown, f"kind must be one of {', '.join(get_args(StepKind))}")
    pivots = [i for i, step in enumerate(steps) if step.kind == "pivot"]
    if len(pivots) > 1:
        raise _refused(steps[pivots[1]], "a saga has one pivot at most")
    at = pivots[0] if pivots else len(steps)
    for step in steps[:at]:
        _check_before(step, has_pivot=bool(pivots))
    for step in steps[at:]:
        _check_pivot_or_after(step)


def _check_before(step: SagaStep, *, has_pivot: bool) -> None:
    if step.kind == "retriable":
        raise _refused(step, "a retriable step stands after the pivot")
    if has_pivot and not step.has_undo():
        raise _refused(step, "a step before the pivot needs a compensation")


def _check_pivot_or_after(step: SagaStep) -> None:
    if step.kind == "compensatable":
        raise _refused(step, "a step after the pivot must be retriable")
    if step.kind == "pivot" and step.parallel_group:
        raise _refused(step, "a pivot runs alone")
    if step.has_compensation():
        raise _refused(step, f"a {step.kind} step is never undone, so it has no compensation")
    if not step.required:
        raise _refused(step, f"a {step.kind} step is required")


def _refused(step: SagaStep, why: str) -> IntegrationError:
    return IntegrationError(ErrorCode.PIVOT_ORDER_INVALID, f"step {step.step_id!r}: {why}")
