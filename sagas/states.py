"""The states of a saga and of its steps, and every legal move between them (pure).

A move that is not in these tables raises `IllegalMove` and changes nothing. Final states of a run are left only by an
operator, through `OPERATOR_MOVES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class SagaStatus(StrEnum):
    """Where a run stands; the last four are final."""

    PENDING = "pending"
    """Accepted and stored; no step has begun."""
    RUNNING = "running"
    """Going forward, or waiting for its running step to end before it turns back."""
    WAITING = "waiting"
    """Held until something else happens: an open circuit, a queue without a worker, a version no worker has."""
    COMPENSATING = "compensating"
    """Turned back; undoing what happened or may have happened, last started first."""
    COMPLETED = "completed"
    """Every step happened (or was skipped, if it was not required)."""
    COMPENSATED = "compensated"
    """Everything that happened or may have happened was undone."""
    FAILED = "failed"
    """Turned back with nothing undone, because the definition says `auto_compensate=False`."""
    NEEDS_OPERATOR = "needs_operator"
    """An undo is used up, or the run cannot go on; the error says which and why."""


class StepStatus(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    RUNNING = "running"
    """Claimed under a lease; its effect may happen at any moment."""
    WAITING = "waiting"
    """To be tried (again) at `due_at`."""
    COMPLETED = "completed"
    FAILED = "failed"
    """Ended, and certainly nothing happened."""
    UNKNOWN = "unknown"
    """Ended, and it may have happened."""
    SKIPPED = "skipped"
    """Failed, but was not required."""
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


class Cause(StrEnum):
    """Why a run turned back."""

    STEP_FAILED = "step_failed"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    LOST = "lost"


class Direction(StrEnum):
    DO = "do"
    UNDO = "undo"


_S, _T = SagaStatus, StepStatus

SAGA_MOVES: Mapping[SagaStatus, frozenset[SagaStatus]] = {
    _S.PENDING: frozenset({_S.RUNNING, _S.WAITING, _S.COMPENSATING, _S.FAILED, _S.NEEDS_OPERATOR}),
    _S.RUNNING: frozenset({_S.WAITING, _S.COMPLETED, _S.COMPENSATING, _S.FAILED, _S.NEEDS_OPERATOR}),
    _S.WAITING: frozenset({_S.RUNNING, _S.COMPENSATING, _S.FAILED, _S.NEEDS_OPERATOR}),
    _S.COMPENSATING: frozenset({_S.COMPENSATED, _S.NEEDS_OPERATOR}),
    _S.COMPLETED: frozenset(),
    _S.COMPENSATED: frozenset(),
    _S.FAILED: frozenset(),
    _S.NEEDS_OPERATOR: frozenset(),
}

STEP_MOVES: Mapping[StepStatus, frozenset[StepStatus]] = {
    _T.PENDING: frozenset({_T.RUNNING, _T.WAITING}),
    _T.RUNNING: frozenset({_T.COMPLETED, _T.FAILED, _T.UNKNOWN, _T.SKIPPED, _T.WAITING}),
    _T.WAITING: frozenset({_T.RUNNING, _T.PENDING, _T.FAILED, _T.UNKNOWN, _T.COMPLETED, _T.SKIPPED}),
    _T.COMPLETED: frozenset({_T.COMPENSATING}),
    _T.UNKNOWN: frozenset({_T.COMPENSATING}),
    _T.SKIPPED: frozenset({_T.COMPENSATING}),
    _T.FAILED: frozenset(),
    _T.COMPENSATING: frozenset({_T.COMPENSATED, _T.COMPENSATION_FAILED}),
    _T.COMPENSATED: frozenset(),
    _T.COMPENSATION_FAILED: frozenset(),
}

OPERATOR_MOVES: Mapping[SagaStatus, frozenset[SagaStatus]] = {
    _S.FAILED: frozenset({_S.RUNNING, _S.COMPENSATING, _S.COMPLETED, _S.COMPENSATED}),
    _S.NEEDS_OPERATOR: frozenset({_S.RUNNING, _S.COMPENSATING, _S.COMPLETED, _S.COMPENSATED}),
}

PARENT_MOVES: Mapping[SagaStatus, frozenset[SagaStatus]] = {
    **{status: moves & {_S.COMPENSATING} for status, moves in OPERATOR_MOVES.items()},
    # A completed child is undone as a whole by its parent (S23), and by nobody else.
    _S.COMPLETED: frozenset({_S.COMPENSATING}),
}

OPERATOR_STEP_MOVES: Mapping[StepStatus, frozenset[StepStatus]] = {
    _T.PENDING: frozenset({_T.SKIPPED}),
    _T.WAITING: frozenset({_T.SKIPPED}),
    _T.FAILED: frozenset({_T.PENDING, _T.SKIPPED}),
    # Back to waiting, not to pending: it may have happened, and is to be undone if it gets no further try.
    _T.UNKNOWN: frozenset({_T.WAITING, _T.SKIPPED, _T.COMPENSATED}),
    # Undone by hand, where the hub could not begin to.
    _T.COMPLETED: frozenset({_T.COMPENSATED}),
    _T.SKIPPED: frozenset({_T.COMPENSATED}),
    _T.COMPENSATING: frozenset({_T.COMPENSATED}),
    _T.COMPENSATION_FAILED: frozenset({_T.COMPENSATING, _T.COMPENSATED}),
}

ACTIVE = frozenset({_S.PENDING, _S.RUNNING, _S.WAITING, _S.COMPENSATING})
FINAL = frozenset(_S) - ACTIVE
DONE = frozenset({_T.COMPLETED, _T.SKIPPED})


class IllegalMove(Exception):
    """A change that the tables do not allow; nothing was changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepState:
    """What is known of one step of a run. Times are seconds since 1970 by the database's clock."""

    status: StepStatus = StepStatus.PENDING
    epoch: int = 0
    """Fencing token: grows at each claim; a write that names an older one is refused."""
    attempts: int = 0
    undo_attempts: int = 0
    losses: int = 0
    """How often the process that ran it vanished, in a row."""
    started_seq: int | None = None
    may_have_happened: bool = False
    """Sticky: one ambiguous attempt makes the step undoable whatever later attempts say."""
    lease_until: float | None = None
    due_at: float | None = None
    waiting_for: str = ""
    """``signal:name``, ``event:topic`` or ``timer`` while a wait step waits; `due_at` is when it ends or is given up."""
    verify_only: bool = False
    """The tries are used up and the outcome is not known: the next claim only asks whether it happened."""
    honours: str = ""
    """What the service that runs it says it honours: ``key and tombstone``, ``key`` or ``none``; empty: it does not say."""
    task_id: str = ""
    served_by: str = ""
    output: Any = None
    error: Mapping[str, Any] | None = None
    undo_error: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """What is known of one run of a saga."""

    status: SagaStatus = SagaStatus.PENDING
    cause: Cause | None = None
    """Set when the run decides to turn back; from then on no step starts."""
    error: Mapping[str, Any] | None = None
    """The first error: ``{code, message, step_id}``. Errors of undos are kept at their steps."""
    steps: tuple[StepState, ...]
    input: Mapping[str, Any] = field(default_factory=dict)
    deadline_at: float
    started: int = 0
    """How many steps have started: the next `started_seq`."""
    hints: int = 0
    """How many messages were sent since work was last picked up."""
    blocked_at: float | None = None
    blocked_reason: str = ""
    signals: Mapping[str, Any] = field(default_factory=dict)
    """Signals that came before a step waited for them, by name."""
    owner_until: float | None = None
    """For a run that its caller drives: when the caller counts as dead."""
    traceparent: str = ""
    """Where its spans and messages belong; never changes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One move, for the history; `step` is None for the run itself."""

    step: int | None
    old: str
    new: str
    reason: str = ""
