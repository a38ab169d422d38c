"""A saga's definition as data: what a run keeps a snapshot of (pure)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sagas.states import Direction

CallKind = Literal["function", "http", "task", "local", "wait", "saga"]
HONOURS = ("key and tombstone", "key", "none")
"""What a service may say it honours: repeats of a key act once; and an action whose undo came first is refused."""
OnLock = Literal["wait", "refuse"]
StepKind = Literal["compensatable", "pivot", "retriable"]
"""What stands before the pivot can be undone; what stands after it is only retried (S12)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """How one direction of a step is carried out.

    `target` is ``package.module:function``, ``POST /path``, a task name, or, for a closure of the caller, its name;
    `where` is the service of an HTTP call or the queue of a task. A ``wait`` names what it waits for (``signal:name``,
    ``event:topic``, ``timer:30``), a ``saga`` the definition that it runs as a child.
    """

    kind: CallKind
    target: str
    where: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """Delays grow from `delay_sec` by `backoff` up to `max_delay_sec`, with jitter; `max_retries` follow the first try."""

    max_retries: int
    delay_sec: float
    backoff: float
    max_delay_sec: float

    def delay_before(self, attempt: int, *, jitter: float) -> float:
        """Return the seconds to wait after `attempt` tries; `jitter` in [0, 1) takes up to half of it away."""
        # The exponent is capped so that the largest backoff a definition may have (86,400) stays within a float.
        full = min(self.max_delay_sec, self.delay_sec * self.backoff ** min(max(attempt - 1, 0), 60))
        return full * (1 - jitter / 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSpec:
    step_id: str
    step_name: str
    do: Call
    undo: Call | None
    timeout_sec: float
    undo_timeout_sec: float
    retry: RetryPolicy
    undo_retry: RetryPolicy
    required: bool = True
    non_retryable: tuple[str, ...] = ()
    kind: StepKind = "compensatable"
    parallel_group: str = ""
    verify: Call | None = None

    def call(self, direction: Direction) -> Call | None:
        return self.do if direction is Direction.DO else self.undo

    def limit_sec(self, direction: Direction) -> float:
        return self.timeout_sec if direction is Direction.DO else self.undo_timeout_sec


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaSpec:
    saga_name: str
    version: str
    steps: tuple[StepSpec, ...]
    timeout_sec: float
    auto_compensate: bool = True
    inline: bool = False
    preflight: bool = False
    locks: tuple[str, ...] = ()
    on_lock: OnLock = "wait"
    hash: str = field(default="", compare=False)

    @property
    def needs_its_caller(self) -> bool:
        """Tell whether some of its functions are closures, which no worker has."""
        return any(call is not None and call.kind == "local" for step in self.steps for call in (step.do, step.undo))

    def to_dict(self) -> dict[str, Any]:
        """Return the snapshot that a run keeps: plain JSON."""
        data = asdict(self)
        del data["hash"]
        return data


def digest(spec: SagaSpec) -> str:
    """Return the hash of everything that decides how a run behaves; the version's name is left out."""
    data = spec.to_dict()
    del data["version"]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def from_dict(data: dict[str, Any]) -> SagaSpec:
    """Build the definition from its snapshot."""
    built = {**data, "steps": tuple(_step(step) for step in data["steps"]), "locks": tuple(data["locks"])}
    return SagaSpec(**{**built, "hash": digest(SagaSpec(**built))})


def _step(data: dict[str, Any]) -> StepSpec:
    built = {
        "do": Call(**data["do"]),
        "undo": Call(**data["undo"]) if data["undo"] else None,
        "verify": Call(**data["verify"]) if data["verify"] else None,
        "retry": RetryPolicy(**data["retry"]),
        "undo_retry": RetryPolicy(**data["undo_retry"]),
        "non_retryable": tuple(data["non_retryable"]),
    }
    return StepSpec(**{**data, **built})
