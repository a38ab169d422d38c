"""The tables of legal moves: what is in them is done by some story, and everything else is refused."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import product

import pytest

from sagas import events
from sagas.draft import Draft
from sagas.machine import IllegalMove, apply
from sagas.states import (
    ACTIVE,
    FINAL,
    OPERATOR_MOVES,
    OPERATOR_STEP_MOVES,
    PARENT_MOVES,
    SAGA_MOVES,
    STEP_MOVES,
    Direction,
    RunState,
    SagaStatus,
    StepState,
    StepStatus,
)
from tests.sagas.pure.invariants import assert_sound, assert_sound_move
from tests.sagas.pure.story import ERROR, START, Story, saga, step, wait

RUN_TABLES = (SAGA_MOVES, OPERATOR_MOVES, PARENT_MOVES)
STEP_TABLES = (STEP_MOVES, OPERATOR_STEP_MOVES)
SPEC = saga(step("a"))


def draft(run_status=SagaStatus.RUNNING, step_status=StepStatus.PENDING):
    return Draft(SPEC, RunState(status=run_status, steps=(StepState(status=step_status),), deadline_at=START), now=START)


@pytest.mark.parametrize("table", RUN_TABLES, ids=["saga", "operator", "parent"])
@pytest.mark.parametrize(("old", "new"), list(product(SagaStatus, SagaStatus)))
def test_a_run_makes_the_moves_of_its_table_and_everything_else_is_refused(table, old, new):
    made = draft(run_status=old)

    if new in table.get(old, ()):
        made.move_run(new, "why", moves=table)
        assert (made.run.status, made.changes[0].old, made.changes[0].new, made.changes[0].reason) == (new, old, new, "why")
    else:
        with pytest.raises(IllegalMove, match=f"a {old} saga does not become {new}"):
            made.move_run(new, moves=table)
        assert (made.run.status, made.changes) == (old, [])


@pytest.mark.parametrize("table", STEP_TABLES, ids=["step", "operator"])
@pytest.mark.parametrize(("old", "new"), list(product(StepStatus, StepStatus)))
def test_a_step_makes_the_moves_of_its_table_and_everything_else_is_refused(table, old, new):
    made = draft(step_status=old)

    if new in table.get(old, ()):
        made.move_step(0, new, "why", moves=table, attempts=3)
        assert (made.run.steps[0].status, made.run.steps[0].attempts, made.changes[0].step) == (new, 3, 0)
    else:
        with pytest.raises(IllegalMove, match=f"a {old} step does not become {new}"):
            made.move_step(0, new, moves=table)
        assert (made.run.steps[0].status, made.changes) == (old, [])


def test_every_status_has_its_row():
    assert set(SAGA_MOVES) == set(SagaStatus)
    assert set(STEP_MOVES) == set(StepStatus)


def test_final_is_what_nothing_leaves_by_itself():
    assert {status for status, moves in SAGA_MOVES.items() if not moves} == FINAL
    assert set(SagaStatus) == ACTIVE | FINAL


def test_every_active_run_can_reach_an_end():
    for status in ACTIVE:
        reached = {status}
        while (wider := reached | {new for old in reached for new in SAGA_MOVES[old]}) != reached:
            reached = wider
        assert reached & FINAL


# --- every state that a small saga can reach ----------------------------------------------------------------------------

BEFORE, LATER = START + 1, START + 50
"""Within every lease, delay and deadline; and after all of them."""

EXPLORED = {
    "two steps, one of them optional": saga(step("a", max_retries=1), step("b", required=False, undo_max_retries=0), timeout_sec=40),
    "without auto-compensation": saga(step("a"), step("b", undo=False), auto_compensate=False, timeout_sec=40),
    "side by side": saga(step("a", group="g"), step("b", group="g", undo_max_retries=0), timeout_sec=40),
    "a pivot": saga(step("a"), step("p", undo=False, kind="pivot", max_retries=1), timeout_sec=40),
    "a wait": saga(wait("signal:go", required=False), step("b", verify=True), timeout_sec=40),
    "a wait that is required": saga(wait("signal:go"), timeout_sec=40),
    "two waits for one topic": saga(wait("event:paid"), wait("event:paid", step_id="v"), timeout_sec=40),
}


def possible(run):
    """Return everything that could happen to a run now, sensible or not."""
    for now in (BEFORE, LATER):
        yield events.Tick(now=now)
        yield from (events.Blocked(now=now, patience_sec=patience, error=ERROR) for patience in (0, 1000))
        for index, state in enumerate(run.steps):
            for direction in Direction:
                yield events.Claim(step=index, direction=direction, now=now, limit_sec=10, grace_sec=5)
            yield events.Renewed(step=index, epoch=state.epoch, now=now, until=now + 5)
            yield events.Succeeded(step=index, epoch=state.epoch, now=now)
            yield events.Held(step=index, epoch=state.epoch, now=now, until=BEFORE + 10, reason="open")
            yield from (
                events.Failed(step=index, epoch=state.epoch, now=now, outcome=outcome, error=ERROR)
                for outcome in ("refused", "failed", "unknown", "lost")
            )
            yield from (events.Verified(step=index, epoch=state.epoch, now=now, answer=answer) for answer in ("did_not", "unknown"))
            yield events.Skip(step=index, now=now, reason="by hand", deadline_at=START + 40)
    yield events.Cancel(now=BEFORE, reason="no")
    yield events.Signal(name="signal:go", now=BEFORE)
    yield from (events.EventCame(name="event:paid", event_id="e1", now=BEFORE, is_its_own=own) for own in (False, True))
    yield events.Retry(now=BEFORE, reason="again", deadline_at=START + 40)
    yield from (events.Compensate(now=BEFORE, reason="back", by_parent=by_parent) for by_parent in (False, True))
    yield from (events.Resolve(now=BEFORE, reason="by hand", outcome=outcome) for outcome in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED))


def essence(run):
    """Return what decides how a run goes on: without counters that only grow, and without words."""
    steps = tuple(replace(state, epoch=0, task_id="", error=None, undo_error=None) for state in run.steps)
    return run.status, run.cause, run.error is None, run.deadline_at, run.blocked_at, tuple(run.signals), steps


@cache
def explored(label):
    """Return every move made on any way through the first 700 states of a saga, each of them checked.

    What an operator does by hand is done in each, and not followed further.
    """
    spec = EXPLORED[label]
    seen, waiting, moves = set(), deque([Story(spec=spec).run]), set()
    while waiting and len(seen) < 700:
        run = waiting.popleft()
        if essence(run) in seen:
            continue
        seen.add(essence(run))
        for event in possible(run):
            with suppress(IllegalMove):
                verdict = apply(spec, run, event)
                assert_sound_move(spec, run, event, verdict)
                moves |= {(change.step is None, change.old, change.new) for change in verdict.changes if change.old != change.new}
                if not isinstance(event, events.Skip | events.Resolve):
                    assert_sound(spec, verdict.run, now=event.now)
                    waiting.append(verdict.run)
    return moves


@pytest.mark.parametrize("label", EXPLORED)
def test_every_state_that_can_be_reached_is_sound(label):
    assert explored(label)


def test_every_move_of_the_tables_is_made_and_no_other():
    made = set().union(*(explored(label) for label in EXPLORED))

    tables = {(True, old, new) for table in RUN_TABLES for old, moves in table.items() for new in moves}
    tables |= {(False, old, new) for table in STEP_TABLES for old, moves in table.items() for new in moves}
    assert made == tables
