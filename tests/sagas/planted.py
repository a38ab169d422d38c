"""Ways to spoil a good history, each with what the checker must say. A way that does not fit a history returns None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise

from tests.sagas.history import History, Submission, Violation
from tests.sagas.planted_moves import (
    a_completed_saga_that_runs_again,
    a_completed_step_that_fails,
    a_move_is_missing,
    a_saga_elsewhere_than_its_history,
    a_saga_without_any_history,
    a_step_elsewhere_than_its_history,
    a_step_row_is_missing,
    a_step_that_starts_while_undoing,
)
from tests.sagas.planting import (
    first_line,
    ledger,
    line,
    lines,
    moved_to_the_end,
    moves,
    promise,
    rejected,
    saga_row,
    with_status,
    without,
)

Spoil = Callable[[History], History | None]


# --- submissions ----------------------------------------------------------------------------------------------------


def accepted_and_gone(history: History) -> History:
    return replace(history, submissions=[*history.submissions, Submission(key="gone", outcome="ok")])


def refused_and_there(history: History) -> History:
    return replace(history, submissions=[replace(history.submissions[0], outcome="fail"), *history.submissions[1:]])


def one_key_two_sagas(history: History) -> History:
    return saga_row(history, history.sagas[1], key=history.sagas[0].key)


def never_submitted(history: History) -> History:
    return replace(history, submissions=history.submissions[1:])


# --- the ledger -----------------------------------------------------------------------------------------------------


def a_line_is_missing(history: History) -> History | None:
    return replace(history, ledger=history.ledger[1:]) if history.ledger else None


def a_line_is_out_of_place(history: History) -> History | None:
    return replace(history, ledger=[*history.ledger[1:], history.ledger[0]]) if len(history.ledger) > 1 else None


def effect_of_no_saga(history: History) -> History:
    return ledger(history, [*history.ledger, replace(line(history.sagas[0], "s0", "do"), saga="nobody")])


def effect_of_no_step(history: History) -> History:
    return ledger(history, [*history.ledger, line(history.sagas[0], "s99", "do")])


def done_twice_under_one_key(history: History) -> History | None:
    line = next((entry for entry in history.ledger if entry.event == "applied"), None)
    return ledger(history, [*history.ledger[: line.seq], line, *history.ledger[line.seq :]]) if line else None


def done_twice_under_two_keys(history: History) -> History | None:
    line = next((entry for entry in history.ledger if entry.event == "applied"), None)
    return ledger(history, [*history.ledger[: line.seq], replace(line, key="new"), *history.ledger[line.seq :]]) if line else None


def undone_twice_under_two_keys(history: History) -> History | None:
    line = first_line(history, "compensated", "undo")
    return ledger(history, [*history.ledger, replace(line, key="new")]) if line else None


def another_version(history: History) -> History | None:
    line = next((entry for entry in history.ledger if entry.version), None)
    return replace(history, ledger=[replace(e, version="0") if e is line else e for e in history.ledger]) if line else None


# --- order ----------------------------------------------------------------------------------------------------------


def asked_before_the_one_before(history: History) -> History | None:
    """Let the last of two stages be asked for first of all."""
    saga = with_status(history, "completed")
    stages = promise(history, saga).stages() if saga else []
    steps = [entry.step for entry in lines(history, saga, "do")] if saga else []
    pairs = [(a, b) for a, b in pairwise(stages) if a[0] in steps and b[0] in steps]
    if not saga or not pairs:
        return None
    early = replace(line(saga, pairs[0][1][0], "do"), event="received")
    return ledger(history, [early, *history.ledger])


def undone_in_order_of_start(history: History) -> History | None:
    saga = with_status(history, "compensated")
    undone = lines(history, saga, "undo") if saga else []
    given_up = {move.step for move in history.moves if saga and move.saga == saga.id and move.new == "compensation_failed"}
    if len(undone) < 2 or given_up:
        return None
    first, second = undone[0], undone[1]
    swapped = {first.seq: second, second.seq: first}
    return ledger(history, [swapped.get(entry.seq, entry) for entry in history.ledger])


def an_action_after_its_undo(history: History) -> History | None:
    line = first_line(history, "compensated", "undo")
    done = [entry for entry in history.ledger if line and (entry.saga, entry.step, entry.direction) == (line.saga, line.step, "do")]
    return moved_to_the_end(history, done) if any(entry.event == "applied" for entry in done) else None


def an_action_that_stayed_after_undoing_began(history: History) -> History | None:
    saga = with_status(history, "compensated")
    undone = lines(history, saga, "undo") if saga else []
    if not saga or len(undone) < 2:
        return None
    step = undone[-1].step
    done = [entry for entry in history.ledger if (entry.saga, entry.step, entry.direction) == (saga.id, step, "do")]
    undo = [entry for entry in history.ledger if (entry.saga, entry.step, entry.direction) == (saga.id, step, "undo")]
    if not any(entry.event == "applied" for entry in done):
        return None
    late = [*(entry for entry in history.ledger if entry not in done and entry not in undo), *done]
    return ledger(history, late)


def undone_beyond_the_pivot(history: History) -> History | None:
    saga = next((s for s in history.sagas if s.status == "completed" and (p := promise(history, s)).pivot and p.undoable), None)
    if not saga or not any(entry.step == promise(history, saga).pivot for entry in lines(history, saga, "do")):
        return None
    return ledger(history, [*history.ledger, line(saga, min(promise(history, saga).undoable), "undo")])


# --- what the hub says of itself --------------------------------------------------------------------------------------


def completed_without_a_step(history: History) -> History | None:
    line = first_line(history, "completed", "do")
    if line is None or line.step in history.definitions[line.saga].optional:
        return None
    return rejected(history, line)


def said_done_and_was_not(history: History) -> History | None:
    by_hand = {(move.saga, move.step) for move in history.moves if move.reason.startswith("by hand")}
    completed = {(move.saga, move.step) for move in history.moves if move.new == "completed"} - by_hand
    line = next((e for e in history.ledger if e.event == "applied" and e.direction == "do" and (e.saga, e.step) in completed), None)
    return rejected(history, line) if line else None


def said_undone_and_was_not(history: History) -> History | None:
    line = first_line(history, "compensated", "undo")
    return rejected(history, line) if line else None


def completed_and_undone(history: History) -> History | None:
    line = first_line(history, "completed", "do")
    return ledger(history, [*history.ledger, replace(line, event="applied", direction="undo", key="planted")]) if line else None


def failed_and_undone(history: History) -> History | None:
    line = first_line(history, "failed", "do")
    return ledger(history, [*history.ledger, replace(line, event="applied", direction="undo", key="planted")]) if line else None


def not_undone(history: History) -> History | None:
    saga = with_status(history, "compensated")
    done = {entry.step for entry in lines(history, saga, "do")} if saga else set()
    line = next((entry for entry in lines(history, saga, "undo") if entry.step in done), None) if saga else None
    if line is None:
        return None
    gone = [e for e in history.ledger if (e.saga, e.step, e.direction) == (line.saga, line.step, "undo")]
    return without(history, gone)


def undone_and_never_tried(history: History) -> History | None:
    saga = with_status(history, "compensated")
    tried = {entry.step for entry in history.ledger if saga and entry.saga == saga.id}
    tried |= {move.step for move in history.moves if saga and move.saga == saga.id}
    step = next((step for step in promise(history, saga).steps if step not in tried), None) if saga else None
    return ledger(history, [*history.ledger, line(saga, step, "undo")]) if saga and step else None


def an_effect_the_book_denies(history: History) -> History | None:
    for (saga_id, step), status in history.steps.items():
        saga = next(saga for saga in history.sagas if saga.id == saga_id)
        touched = any(entry.saga == saga_id and entry.step == step and entry.event == "applied" for entry in history.ledger)
        if status in ("pending", "failed") and not touched:
            return ledger(history, [*history.ledger, line(saga, step, "do")])
    return None


def compensated_and_an_undo_still_owed(history: History) -> History | None:
    """Let the last undo not have been written down, neither in the row nor in the history."""
    saga = with_status(history, "compensated")
    last = next((m for m in reversed(history.moves) if saga and m.saga == saga.id and m.step and m.new == "compensated"), None)
    if not saga or last is None:
        return None
    spoilt = moves(history, lambda moves: [move for move in moves if move is not last], saga)
    return replace(spoilt, steps={**history.steps, (saga.id, last.step): "compensating"})


def parked_without_a_word(history: History) -> History | None:
    saga = with_status(history, "needs_operator")
    if saga is None:
        return None
    return moves(history, lambda moves: [replace(m, reason="") if not m.step and m.new == "needs_operator" else m for m in moves], saga)


def not_at_its_end(history: History) -> History | None:
    saga = with_status(history, "compensated", "completed")
    ending = next((move for move in reversed(history.moves) if saga and move.saga == saga.id and not move.step), None)
    if not saga or ending is None:
        return None
    spoilt = moves(history, lambda moves: [move for move in moves if move is not ending], saga)
    return replace(spoilt, sagas=[replace(other, status=ending.old) if other is saga else other for other in history.sagas])


PLANTED: Mapping[Spoil, Violation] = {
    accepted_and_gone: Violation.LOST,
    refused_and_there: Violation.REFUSED_BUT_THERE,
    one_key_two_sagas: Violation.DOUBLED,
    never_submitted: Violation.PHANTOM,
    a_line_is_missing: Violation.LEDGER_GAP,
    a_line_is_out_of_place: Violation.LEDGER_GAP,
    effect_of_no_saga: Violation.UNKNOWN_SAGA,
    effect_of_no_step: Violation.UNKNOWN_STEP,
    done_twice_under_one_key: Violation.TWICE_UNDER_ONE_KEY,
    done_twice_under_two_keys: Violation.TWICE_UNDER_TWO_KEYS,
    undone_twice_under_two_keys: Violation.TWICE_UNDER_TWO_KEYS,
    another_version: Violation.WRONG_VERSION,
    asked_before_the_one_before: Violation.OUT_OF_ORDER,
    undone_in_order_of_start: Violation.UNDONE_IN_WRONG_ORDER,
    an_action_after_its_undo: Violation.ORPHAN,
    an_action_that_stayed_after_undoing_began: Violation.ACTION_AFTER_UNDOING_BEGAN,
    undone_beyond_the_pivot: Violation.UNDONE_PAST_PIVOT,
    completed_without_a_step: Violation.COMPLETED_WITHOUT_EFFECT,
    said_done_and_was_not: Violation.CLAIMED_DONE,
    said_undone_and_was_not: Violation.CLAIMED_UNDONE,
    completed_and_undone: Violation.COMPLETED_BUT_UNDONE,
    failed_and_undone: Violation.FAILED_BUT_UNDONE,
    not_undone: Violation.NOT_UNDONE,
    undone_and_never_tried: Violation.UNDONE_UNTRIED,
    an_effect_the_book_denies: Violation.HIDDEN_EFFECT,
    compensated_and_an_undo_still_owed: Violation.STILL_OWED,
    parked_without_a_word: Violation.PARKED_WITHOUT_REASON,
    not_at_its_end: Violation.NOT_FINAL,
    a_completed_saga_that_runs_again: Violation.ILLEGAL_MOVE,
    a_completed_step_that_fails: Violation.ILLEGAL_MOVE,
    a_step_that_starts_while_undoing: Violation.STARTED_AFTER_TURNING_BACK,
    a_move_is_missing: Violation.BROKEN_HISTORY,
    a_step_elsewhere_than_its_history: Violation.BROKEN_HISTORY,
    a_step_row_is_missing: Violation.BROKEN_HISTORY,
    a_saga_elsewhere_than_its_history: Violation.BROKEN_HISTORY,
    a_saga_without_any_history: Violation.BROKEN_HISTORY,
}
