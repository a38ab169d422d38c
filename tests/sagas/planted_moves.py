"""Ways to spoil the book of a good history: moves that are illegal, missing, or that end elsewhere than the rows."""

from __future__ import annotations

from dataclasses import replace

from tests.sagas.history import History, Move
from tests.sagas.planting import (
    moves,
    saga_row,
    with_status,
)


def a_completed_saga_that_runs_again(history: History) -> History | None:
    saga = with_status(history, "completed")
    if saga is None:
        return None
    again = Move(saga=saga.id, step="", old="completed", new="running")
    return moves(history, lambda moves: [*moves, again], saga)


def a_completed_step_that_fails(history: History) -> History | None:
    at = next((key for key, status in history.steps.items() if status == "completed"), None)
    if at is None:
        return None
    spoilt = replace(history, moves=[*history.moves, Move(saga=at[0], step=at[1], old="completed", new="failed")])
    return replace(spoilt, steps={**history.steps, at: "failed"})


def a_step_that_starts_while_undoing(history: History) -> History | None:
    saga = with_status(history, "compensated")
    step = next((s for (of, s), status in history.steps.items() if saga and of == saga.id and status == "pending"), None)
    turned = next((m for m in history.moves if saga and m.saga == saga.id and not m.step and m.new == "compensating"), None)
    if not saga or not step or turned is None:
        return None
    start = Move(saga=saga.id, step=step, old="pending", new="running")
    end = Move(saga=saga.id, step=step, old="running", new="failed")
    spoilt = moves(history, lambda moves: [m for move in moves for m in ((move, start, end) if move is turned else (move,))], saga)
    return replace(spoilt, steps={**history.steps, (saga.id, step): "failed"})


def a_move_is_missing(history: History) -> History | None:
    at = next((at for at, move in enumerate(history.moves) if move.new == "running" and move.step), None)
    return None if at is None else replace(history, moves=[*history.moves[:at], *history.moves[at + 1 :]])


def a_step_elsewhere_than_its_history(history: History) -> History | None:
    at = next((key for key, status in history.steps.items() if status == "completed"), None)
    return replace(history, steps={**history.steps, at: "unknown"}) if at else None


def a_step_row_is_missing(history: History) -> History:
    first = next(iter(history.steps))
    return replace(history, steps={key: status for key, status in history.steps.items() if key != first})


def a_saga_elsewhere_than_its_history(history: History) -> History | None:
    saga = with_status(history, "compensated")
    return saga_row(history, saga, status="completed") if saga else None


def a_saga_without_any_history(history: History) -> History:
    return replace(history, moves=[move for move in history.moves if move.saga != history.sagas[0].id])
