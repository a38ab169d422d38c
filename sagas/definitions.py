"""What an author writes: `SagaDefinition` and `SagaStep` (pure; a definition holds no run-time state, S28)."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hub.errors import ErrorCode, IntegrationError
from sagas import lint
from sagas.spec import Call, RetryPolicy, SagaSpec, StepKind, StepSpec, digest

__all__ = ["SagaDefinition", "SagaStep"]

Action = Callable[[dict[str, Any]], Any]

MAX_STEPS = 200
MAX_TIMEOUT_SEC = 30 * 24 * 3600.0
MAX_RETRIES = 100
_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$")
_STEP_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
_ENDPOINT = re.compile(r"^(GET|HEAD|POST|PUT|PATCH|DELETE) (/[^\s\\#]*)$")
_TASK = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]{0,199}$")


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaStep:
    """One step: a function (`action`), an HTTP call (`service_name` and `endpoint`), or a task in a layer's queue (`task`, `queue`).

    Actions and compensations take the context (a dict) and may return a dict, which is merged into it; sync and async
    functions both work. Their context also holds ``_saga``: execution_id, saga_name, step_id, attempt, idempotency_key,
    undo_key, and for a compensation ``output``, the action's own output (None when its outcome is unknown).

    An action says how it failed by what it raises: `Refused` (no, nothing happened: the saga turns back at once),
    `OutcomeUnknown`, `TimeoutError` or `ConnectionError` (it may have happened: retried with the same key, then undone),
    anything else (nothing happened: retried, then the saga turns back). `non_retryable` names exceptions and HTTP
    statuses that are not worth a retry. Delays are seconds; `retry_backoff` multiplies them.

    `kind`: what stands before a ``pivot`` can be undone, what stands after it is ``retriable`` and only goes forward.
    Neighbours with one `parallel_group` run side by side.
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

    def has_undo(self) -> bool:
        return any(undo is not None for undo in (self.compensation, self.compensation_endpoint, self.compensation_task))


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaDefinition:
    """A named list of steps that complete together or are undone together. Build it with `create`, which checks it."""

    saga_name: str
    steps: tuple[SagaStep, ...]
    timeout_sec: float = 300
    auto_compensate: bool = True
    version: str | None = None

    @classmethod
    def create(
        cls,
        saga_name: str,
        steps: Iterable[SagaStep],
        timeout_sec: float = 300,
        auto_compensate: bool = True,
        version: str | int | None = None,
    ) -> SagaDefinition:
        """Return the definition, or refuse it with the code of what is wrong (E11401-E11414, E11460, E11482)."""
        steps = tuple(steps) if isinstance(steps, list | tuple) else ()
        built = cls(
            saga_name=saga_name,
            steps=steps,
            timeout_sec=timeout_sec,
            auto_compensate=auto_compensate,
            version=None if version is None else str(version),
        )
        _check(built)
        return built

    def spec(self) -> SagaSpec:
        """Return the definition as data; without a given version its hash names it."""
        fields: dict[str, Any] = {
            "saga_name": self.saga_name,
            "steps": tuple(_step_spec(step) for step in self.steps),
            "timeout_sec": float(self.timeout_sec),
            "auto_compensate": self.auto_compensate,
        }
        hash = digest(SagaSpec(version="", **fields))
        return SagaSpec(version=self.version or hash, hash=hash, **fields)

    def local_functions(self) -> dict[str, Action]:
        """Return the closures that only this process has, by the target that the spec gives them."""
        found = {}
        for step in self.steps:
            for function, direction in ((step.action, "do"), (step.compensation, "undo")):
                if function and reference(function) is None:
                    found[_local_target(step, direction)] = function
        return found


def reference(function: Action) -> str | None:
    """Return ``package.module:function`` if another process can import it from there, else None."""
    module, name = getattr(function, "__module__", "__main__"), getattr(function, "__qualname__", "<unnamed>")
    if module == "__main__" or "<" in name:
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}:{name}" if found is function else None


def _step_spec(step: SagaStep) -> StepSpec:
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
        target = reference(function)
        return Call(kind="function", target=target) if target else Call(kind="local", target=_local_target(step, direction))
    if endpoint:
        return Call(kind="http", target=endpoint, where=step.service_name or "")
    if task:
        return Call(kind="task", target=task, where=step.queue or "")
    return None


def _local_target(step: SagaStep, direction: str) -> str:
    return f"{step.step_id}.{direction}"


# --- what is refused ------------------------------------------------------------------------------------------------


def _check(definition: SagaDefinition) -> None:
    if not isinstance(definition.saga_name, str) or not _NAME.match(definition.saga_name):
        raise IntegrationError(ErrorCode.SAGA_NAME_INVALID, f"saga name {_show(definition.saga_name)} must match {_NAME.pattern}")
    if definition.saga_name.startswith("hub."):
        raise IntegrationError(ErrorCode.SAGA_NAME_RESERVED, f"saga name {definition.saga_name!r}: names under hub. are reserved")
    _check_steps(definition)
    _check_number(definition.timeout_sec, 0, MAX_TIMEOUT_SEC, "timeout_sec", definition.saga_name, ErrorCode.SAGA_TIMEOUT_INVALID)


def _check_steps(definition: SagaDefinition) -> None:
    steps = definition.steps
    if not steps or not all(isinstance(step, SagaStep) for step in steps):
        raise IntegrationError(ErrorCode.SAGA_STEPS_INVALID, f"saga {definition.saga_name!r}: steps must be a non-empty list of SagaStep")
    if len(steps) > MAX_STEPS:
        raise IntegrationError(ErrorCode.TOO_MANY_STEPS, f"saga {definition.saga_name!r} has {len(steps)} steps, the limit is {MAX_STEPS}")
    seen: set[str] = set()
    for step in steps:
        _check_step(step)
        if step.step_id in seen:
            raise IntegrationError(ErrorCode.STEP_ID_DUPLICATE, f"step id {step.step_id!r} is used twice")
        seen.add(step.step_id)
    lint.check_groups(steps)
    lint.check_pivot(steps)


def _check_step(step: SagaStep) -> None:
    if not isinstance(step.step_id, str) or not _STEP_ID.match(step.step_id):
        raise IntegrationError(ErrorCode.STEP_ID_INVALID, f"step id {_show(step.step_id)} must match {_STEP_ID.pattern}")
    _check_direction(step, (step.action, step.endpoint, step.task), "action, endpoint and task", at_least=1)
    undo = (step.compensation, step.compensation_endpoint, step.compensation_task)
    _check_direction(step, undo, "compensation, compensation_endpoint and compensation_task", at_least=0)
    for endpoint in filter(None, (step.endpoint, step.compensation_endpoint)):
        if not isinstance(endpoint, str) or not _ENDPOINT.match(endpoint) or not step.service_name:
            raise _bad_action(step, f"endpoint {_show(endpoint)} needs a service_name and the form 'POST /path'")
    for task in filter(None, (step.task, step.compensation_task)):
        if not isinstance(task, str) or not _TASK.match(task) or not step.queue:
            raise _bad_action(step, f"task {_show(task)} needs a queue and a dotted task name")
    _check_limits(step)


def _check_direction(step: SagaStep, given: tuple[Any, ...], names: str, *, at_least: int) -> None:
    if not at_least <= sum(item is not None for item in given) <= 1:
        raise _bad_action(step, f"give {'exactly' if at_least else 'at most'} one of {names}")
    if given[0] is not None and not callable(given[0]):
        raise _bad_action(step, f"{_show(given[0])} is not a function")


def _check_limits(step: SagaStep) -> None:
    for name in ("timeout_sec", "compensation_timeout_sec"):
        value = getattr(step, name)
        if value is not None:
            _check_number(value, 0, 24 * 3600, name, step.step_id, ErrorCode.STEP_TIMEOUT_INVALID)
    for name in ("max_retries", "compensation_max_retries"):
        value = getattr(step, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_RETRIES:
            raise _bad_policy(step, name, value, f"0 to {MAX_RETRIES}")
    for name, lowest in (("retry_delay_sec", 0.1), ("retry_backoff", 1), ("retry_max_delay_sec", 0.1)):
        value = getattr(step, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= 86_400:
            raise _bad_policy(step, name, value, f"{lowest} to 86400")


def _check_number(value: Any, above: float, most: float, name: str, where: str, code: ErrorCode) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not above < value <= most:
        raise IntegrationError(code, f"{name} of {where!r} is {_show(value)}; it must be above {above:g} and at most {most:g} seconds")


def _bad_action(step: SagaStep, why: str) -> IntegrationError:
    return IntegrationError(ErrorCode.STEP_ACTION_INVALID, f"step {step.step_id!r}: {why}")


def _bad_policy(step: SagaStep, name: str, value: Any, allowed: str) -> IntegrationError:
    return IntegrationError(ErrorCode.RETRY_POLICY_INVALID, f"step {step.step_id!r}: {name} is {_show(value)}; it must be {allowed}")


def _show(value: Any) -> str:
    return ascii(value)[:80]
