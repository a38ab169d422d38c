"""What steps must keep as a whole: the order around a pivot (S12), neighbourhood in a group, no circle of children (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, takewhile
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


def check_signals(steps: Sequence[SagaStep]) -> None:
    """Refuse two steps that wait for one signal (E11405): one that is delivered twice would end both, as one approval counts for two."""
    wanted = [step.wait_for for step in steps if str(step.wait_for).startswith("signal:")]
    twice = next((name for name in wanted if wanted.count(name) > 1), None)
    if twice:
        message = f"two steps wait for {twice!r}, and a signal may be delivered twice; give each wait a name of its own"
        raise IntegrationError(ErrorCode.STEP_ACTION_INVALID, message)


def check_timers(saga_name: str, steps: Sequence[SagaStep], timeout_sec: float) -> None:
    """Refuse timers that together outlast the saga (E11414): it would turn back each time. After a pivot it never turns back."""
    turning_back = list(takewhile(lambda step: step.kind != "pivot", steps))
    groups = groupby(turning_back, key=lambda step: step.parallel_group or step.step_id)
    timers_sec = sum(max(map(_timer_sec, members)) for _, members in groups)
    if timers_sec >= timeout_sec:
        message = (
            f"saga {saga_name!r} waits for {timers_sec:g} s by its timers, and has {timeout_sec:g} s in all: give it a longer timeout_sec"
        )
        raise IntegrationError(ErrorCode.SAGA_TIMEOUT_INVALID, message)


def _timer_sec(step: SagaStep) -> float:
    kind, _, seconds = str(step.wait_for).partition(":")
    return float(seconds) if kind == "timer" else 0.0


def check_undoable(steps: Sequence[SagaStep]) -> None:
    """Refuse a step that could be undone, is not, and does not say why (E11406)."""
    for step in steps:
        if step.kind == "compensatable" and not step.has_undo() and not step.no_compensation:
            message = f"step {step.step_id!r} needs a compensation, or no_compensation with the reason"
            raise IntegrationError(ErrorCode.STEP_COMPENSATION_MISSING, message)


def check_circles(children: Mapping[str, Sequence[str]]) -> None:
    """Refuse sagas that run each other as children in a circle (E11410): they would never begin to end.

    `children`: names of the sagas that each saga runs as steps.
    """
    for name in children:
        path = _circle(name, children)
        if path:
            raise IntegrationError(ErrorCode.STEP_GRAPH_CYCLE, f"sagas run each other in a circle: {' -> '.join(path)}")


def _circle(start: str, children: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the way from a saga back to itself, or nothing."""
    ways, seen = [[start]], set()
    while ways:
        way = ways.pop()
        for child in children.get(way[-1], ()):
            if child == start:
                return [*way, child]
            if child not in seen:
                seen.add(child)
                ways.append([*way, child])
    return []


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
