"""The sagas that are simulated: of every kind of step, chosen by the seed."""

from __future__ import annotations

import random

from sagas.spec import Call, CallKind, RetryPolicy, SagaSpec, StepKind, StepSpec
from tests.sagas.history import Definition

KINDS: tuple[CallKind, ...] = ("function", "function", "http", "task", "wait")
WAITS = ("timer:2", "signal:go")


def spec(rng: random.Random, *, is_local: bool) -> SagaSpec:
    """Return a saga of two to four steps; in some of them neighbours run side by side, some have a pivot."""
    count = rng.randint(2, 4)
    grouped = rng.choice((frozenset[int](), frozenset[int](), frozenset({0, 1}), frozenset({1, 2})))
    pivot = rng.choice([None, None, *range(count)])
    return SagaSpec(
        saga_name="simulated",
        version=rng.choice(("1", "2")),
        steps=tuple(_step(rng, number, is_local=is_local, group=number in grouped, pivot=pivot) for number in range(count)),
        timeout_sec=rng.choice((8.0, 30.0, 120.0)),
        auto_compensate=rng.random() < 0.9,
    )


def _step(rng: random.Random, number: int, *, is_local: bool, group: bool, pivot: int | None) -> StepSpec:
    do = _call(rng, is_local=is_local)
    kind: StepKind = "compensatable" if pivot is None or number < pivot else "pivot" if number == pivot else "retriable"
    is_bound = pivot is not None  # before a pivot all can be undone, from it on nothing is
    can_undo = do.kind != "wait" and (number < pivot if is_bound and pivot is not None else rng.random() < 0.85)
    return StepSpec(
        step_id=f"s{number}",
        step_name=f"s{number}",
        do=do,
        undo=do if can_undo else None,
        timeout_sec=3,
        undo_timeout_sec=3,
        retry=RetryPolicy(max_retries=rng.randint(0, 2), delay_sec=0.5, backoff=2, max_delay_sec=4),
        undo_retry=RetryPolicy(max_retries=6, delay_sec=0.5, backoff=2, max_delay_sec=4),
        required=is_bound or rng.random() < 0.85,
        kind=kind,
        parallel_group="side by side" if group and kind != "pivot" else "",
    )


def _call(rng: random.Random, *, is_local: bool) -> Call:
    kind: CallKind = "local" if is_local else rng.choice(KINDS)
    return Call(kind=kind, target=rng.choice(WAITS) if kind == "wait" else "simulated")


def is_local(spec: SagaSpec) -> bool:
    return any(step.do.kind == "local" for step in spec.steps)


def definition(spec: SagaSpec) -> Definition:
    """Return what such a saga promises."""
    return Definition(
        version=spec.version,
        steps=tuple(step.step_id for step in spec.steps),
        undoable=frozenset(step.step_id for step in spec.steps if step.undo),
        optional=frozenset(step.step_id for step in spec.steps if not step.required),
        silent=frozenset(step.step_id for step in spec.steps if step.do.kind == "wait"),
        groups={step.step_id: step.parallel_group for step in spec.steps if step.parallel_group},
        pivot=next((step.step_id for step in spec.steps if step.kind == "pivot"), ""),
    )
