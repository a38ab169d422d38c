"""What can happen to a run: the inputs of the machine (pure).

Each carries the time by the database's clock (`now`) and, where a delay is chosen, `jitter` in [0, 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sagas.states import Direction, SagaStatus

Answer = Literal["happened", "did_not", "unknown"]
Outcome = Literal["refused", "failed", "unknown", "lost"]
"""refused: an explicit no. failed: an error, and certainly nothing happened. unknown: it may have happened.
lost: the process that ran it vanished (and it may have happened)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A worker wants to run a step in a direction, for at most `limit_sec`, and then has `grace_sec` to say how it ended.

    With `lease_sec` it promises to say before that is over that it is still alive (`Renewed`), so that others need not wait
    for the whole limit to know that it died.
    """

    step: int
    direction: Direction
    now: float
    limit_sec: float
    grace_sec: float
    lease_sec: float = math.inf
    task_id: str = ""
    honours: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Renewed:
    """The process that holds an attempt is alive, and counts as dead at `until`."""

    step: int
    epoch: int
    now: float
    until: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Succeeded:
    step: int
    epoch: int
    now: float
    output: Any = None
    served_by: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    step: int
    epoch: int
    now: float
    outcome: Outcome
    error: Mapping[str, Any]
    retryable: bool = True
    retry_after_sec: float | None = None
    jitter: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """Nothing was tried, because its target is known to be away (an open circuit); try again at `until`."""

    step: int
    epoch: int
    now: float
    until: float
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocked:
    """No process could begin the next work; after `patience_sec` of that, an operator is asked."""

    now: float
    patience_sec: float
    error: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """Time passed: leases, due times and the deadline are looked at. `by_owner`: the caller that drives the run ticks."""

    now: float
    jitter: float = 0.0
    by_owner: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancel:
    now: float
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnerBeat:
    """The caller that drives the run is alive, and counts as dead at `until`."""

    now: float
    until: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """An operator sends a final run on: forward from the failed step, or again through the undos that failed."""

    now: float
    reason: str
    deadline_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Compensate:
    """An operator turns a final run back; `by_parent`: the saga that started this one does, even if it has completed."""

    now: float
    reason: str
    by_parent: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Skip:
    """An operator has dealt with a step, or with an undo, by hand; the run goes on without it."""

    step: int
    now: float
    reason: str
    deadline_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolve:
    """An operator ends a run as completed or compensated: what was left was put right by hand."""

    now: float
    reason: str
    outcome: SagaStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """Somebody gives a signal (``signal:name``) that a step waits for, or will wait for, with what it brings."""

    name: str
    now: float
    payload: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EventCame:
    """An event was published (``event:topic``); a run takes each once, however often the bus delivers it.

    `is_its_own`: it has the run's correlation id, so it counts even if it comes before the step that waits for it.
    """

    name: str
    event_id: str
    now: float
    payload: Any = None
    is_its_own: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """The author's `verify` says what became of an ambiguous attempt."""

    step: int
    epoch: int
    now: float
    answer: Answer


Event = (
    Claim
    | Renewed
    | Succeeded
    | Failed
    | Held
    | Blocked
    | Tick
    | Cancel
    | OwnerBeat
    | Signal
    | EventCame
    | Verified
    | Retry
    | Compensate
    | Skip
    | Resolve
)
