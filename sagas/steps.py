"""`SagaStep`: one step as an author writes it, and the same step as data (pure)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sagas.spec import Call, RetryPolicy, StepKind, StepSpec

Action = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaStep:
    """One step: a function (`action`), an HTTP call (`service_name` and `endpoint`), a task in a layer's queue (`task`,
    `queue`), a wait (`wait_for`: ``signal:approved``, ``event:agent.created`` or ``timer:30``), or a child (`saga`).

    Actions and compensations take the context (a dict); sync and async functions both work. What an action returns is
    merged into the context, what a compensation returns is dropped. Their context also holds ``_saga``: execution_id,
    saga_name, step_id, attempt, idempotency_key, undo_key, and for a compensation ``output``, the action's own output
    (None when its outcome is unknown).

    An action says how it failed by what it raises: `Refused` (no, nothing happened: the saga turns back at once),
    `OutcomeUnknown`, `TimeoutError` or `ConnectionError` (it may have happened: retried with the same key, then undone),
    anything else (nothing happened: retried, then the saga turns back). `non_retryable` names exceptions and HTTP
    statuses that are not worth a retry. Delays are seconds; `retry_backoff` multiplies them.

    `kind`: what stands before a ``pivot`` can be undone, what stands after it is ``retriable`` and only goes forward.
    Neighbours with one `parallel_group` run side by side. After an ambiguous end `verify`, a function of the context, says
    ``happened`` (go on), ``did_not`` (safe to retry) or ``unknown``. A wait for a signal or an event is given up after
    `timeout_sec`; what it brings is merged into the context. A child that fails undoes itself; a completed one is undone
    as a whole. `no_compensation` says to the reader, and to a strict definition, why a step need not be undone.
    """

    step_id: str
    step_name: str = ""
    action: Action | None = None
    compensation: Action | None = None
    service_name: str | None = None
    endpoint: str | None = None
    compensation_endpoint: str | None = None
    task: str | None = None
    compensation_task: str | None = None
    queue: str | None = None
    timeout_sec: float = 30
    max_retries: int = 3
    retry_delay_sec: float = 1
    retry_backoff: float = 2
    retry_max_delay_sec: float = 60
    compensation_timeout_sec: float | None = None
    compensation_max_retries: int = 10
    required: bool = True
    non_retryable: tuple[str | int, ...] = ()
    kind: StepKind = "compensatable"
    parallel_group: str | None = None
    wait_for: str | None = None
    saga: str | None = None
    verify: Action | None = None
    no_compensation: str = ""

    def has_compensation(self) -> bool:
        return any(undo is not None for undo in (self.compensation, self.compensation_endpoint, self.compensation_task))

    def has_undo(self) -> bool:
        """Tell whether the step can be undone: by its compensation, as a child saga, or because a wait leaves nothing."""
        return self.has_compensation() or self.saga is not None or self.wait_for is not None


def reference(function: Action) -> str | None:
    """Return ``package.module:function`` if another process can import it from there, else None."""
    module, name = getattr(function, "__module__", "__main__"), getattr(function, "__qualname__", "<unnamed>")
    if module == "__main__" or "<" in name:
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}:{name}" if found is function else None


def step_spec(step: SagaStep) -> StepSpec:
    return StepSpec(
        step_id=step.step_id,
        step_name=step.step_name or step.step_id,
        do=_call(step, "do") or Call(kind="local", target=""),
        undo=_call(step, "undo"),
        timeout_sec=float(step.timeout_sec),
        undo_timeout_sec=float(step.compensation_timeout_sec or step.timeout_sec),
        retry=_policy(step, step.max_retries),
        undo_retry=_policy(step, step.compensation_max_retries),
        required=step.required,
        non_retryable=tuple(str(item) for item in step.non_retryable),
        kind=step.kind,
        parallel_group=step.parallel_group or "",
        verify=_function_call(step, step.verify, "verify") if step.verify else None,
    )


def _policy(step: SagaStep, max_retries: int) -> RetryPolicy:
    return RetryPolicy(
        max_retries=max_retries,
        delay_sec=float(step.retry_delay_sec),
        backoff=float(step.retry_backoff),
        max_delay_sec=float(step.retry_max_delay_sec),
    )


def _call(step: SagaStep, direction: str) -> Call | None:
    function = step.action if direction == "do" else step.compensation
    endpoint = step.endpoint if direction == "do" else step.compensation_endpoint
    task = step.task if direction == "do" else step.compensation_task
    if function:
        return _function_call(step, function, direction)
    if endpoint:
        return Call(kind="http", target=endpoint, where=step.service_name or "")
    if task:
        return Call(kind="task", target=task, where=step.queue or "")
    if step.saga:
        return Call(kind="saga", target=step.saga)
    return Call(kind="wait", target=step.wait_for) if step.wait_for and direction == "do" else None


def _function_call(step: SagaStep, function: Action, direction: str) -> Call:
    target = reference(function)
    return Call(kind="function", target=target) if target else Call(kind="local", target=local_target(step, direction))


def local_target(step: SagaStep, direction: str) -> str:
    return f"{step.step_id}.{direction}"
