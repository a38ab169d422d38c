"""What is known of something that may be stuck: values for the rules, with all times in seconds since 1970 (pure)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueFacts:
    """A queue: `readers` is None when nobody knows who reads what; `last_read_at` is when somebody was last seen to."""

    name: str
    ready: int
    readers: int | None
    last_read_at: float | None = None

    @property
    def is_unread(self) -> bool:
        """Tell whether it is known that nobody reads it."""
        return self.readers == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class CircuitFacts:
    """A breaker that refuses calls; `until` is 0 when it does not say how long."""

    service: str
    state: str
    until: float
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFacts:
    """The step that a run stands at, and what its call needs: a `queue`, a `circuit`, a child saga.

    `kind` is that of the call (function, http, task, wait, saga, local), `call` is it in words.
    """

    step_id: str
    kind: str
    call: str
    undoing: bool
    tries: int
    most_tries: int
    lease_until: float | None = None
    due_at: float | None = None
    waiting_for: str = ""
    deaf: str = ""
    """Why the event that it waits for cannot reach it."""
    error: str = ""
    held: str = ""
    """What kept its call from being made the last time, such as a service in maintenance; that is no failure."""
    queue: QueueFacts | None = None
    circuit: CircuitFacts | None = None
    child: str = ""
    """The id and the status of the child saga."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaFacts:
    """A run as its rows tell it, with the queue of the hub's own messages."""

    now: float
    status: str
    is_final: bool
    since: float
    """When it came to stand where it stands."""
    error: str = ""
    undo_failed: str = ""
    """The step whose undo was given up; then `error` is that undo's."""
    step: StepFacts | None = None
    blocked_at: float | None = None
    blocked_reason: str = ""
    patience_sec: float | None = None
    """After how long of being blocked an operator is asked; None: never."""
    next_wake_at: float | None = None
    deadline_at: float | None = None
    """None where the deadline does not decide any more: a run that turned back is undone however long it takes."""
    owner_until: float | None = None
    messages: QueueFacts | None = None
    sweep_sec: float = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestFacts:
    """A request as far as anything is known of it: an ended one, a claimed key, a message in the queue, a Celery result."""

    now: float
    ended: str = ""
    ended_at: float | None = None
    claimed_until: float | None = None
    place_in_queue: int | None = None
    """1 is the next to be read."""
    sent_at: float | None = None
    queue: QueueFacts | None = None
    result: str = ""
