"""What a definition is refused for, with the code of what is wrong (pure)."""

from __future__ import annotations

import inspect
import re
import string
from collections.abc import Mapping
from typing import Any, get_args

from hub.errors import ErrorCode, IntegrationError
from hub.events import topics
from sagas import lint
from sagas.spec import OnLock
from sagas.steps import SagaStep

MAX_STEPS = 200
MAX_STEP_NAME = 200
MAX_VERSION = 64
MAX_TIMEOUT_SEC = 30 * 24 * 3600.0
MAX_RETRIES = 100
_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$")
_STEP_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
_ENDPOINT = re.compile(r"^(GET|HEAD|POST|PUT|PATCH|DELETE) (/[^\s\\#]*)$")
_TASK = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]{0,199}$")
_WAIT = re.compile(r"^(signal:[A-Za-z0-9_.-]{1,100}|event:[A-Za-z0-9_.-]{1,190}|timer:\d{1,7}(\.\d+)?)$")


def check(saga_name: str, steps: tuple[SagaStep, ...], timeout_sec: float) -> None:
    """Refuse a definition with a code of E11401-E11416, E11460 or E11482."""
    if not isinstance(saga_name, str) or not _NAME.fullmatch(saga_name):
        raise IntegrationError(ErrorCode.SAGA_NAME_INVALID, f"saga name {_show(saga_name)} must match {_NAME.pattern}")
    if saga_name.startswith("hub."):
        raise IntegrationError(ErrorCode.SAGA_NAME_RESERVED, f"saga name {saga_name!r}: names under hub. are reserved")
    _check_steps(saga_name, steps)
    _check_number(timeout_sec, 0, MAX_TIMEOUT_SEC, "timeout_sec", saga_name, ErrorCode.SAGA_TIMEOUT_INVALID)
    lint.check_timers(saga_name, steps, timeout_sec)


def check_version(version: str | None) -> None:
    """Refuse a version that cannot be stored or read (E11413)."""
    if version is not None and not (0 < len(version) <= MAX_VERSION and version.isprintable()):
        message = f"version {_show(version)} must have 1 to {MAX_VERSION} printable characters"
        raise IntegrationError(ErrorCode.DEFINITION_VERSION_INVALID, message)


def check_locks(locks: Any, on_lock: Any) -> None:
    """Refuse locks that are no list of names (E11902): one name alone would be taken letter by letter."""
    if not isinstance(locks, list | tuple) or not all(isinstance(name, str) and name for name in locks):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"locks must be a list of names such as 'order:{{id}}', not {_show(locks)}")
    for name in locks:
        _check_lock(name)
    if on_lock not in get_args(OnLock):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"on_lock must be one of {', '.join(get_args(OnLock))}, not {_show(on_lock)}")


def _check_lock(template: str) -> None:
    """Refuse a lock whose fields are more than names (E11412): it is filled from the context, nothing else is looked up."""
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError:
        fields = [""]
    if not all(name.isidentifier() for name in fields):
        raise IntegrationError(ErrorCode.STEP_REFERENCE_UNKNOWN, f"lock {_show(template)}: a field in braces must be a plain name")


def checked_input_types(types: Any) -> dict[str, type]:
    """Return what the context must have; E11902 when it is no mapping from names to types."""
    given = {} if types is None else types
    if not isinstance(given, Mapping) or not all(isinstance(k, str) and isinstance(v, type) for k, v in given.items()):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"input_types must map names to types, not {_show(types)}")
    return dict(given)


def _check_steps(saga_name: str, steps: tuple[SagaStep, ...]) -> None:
    if not steps or not all(isinstance(step, SagaStep) for step in steps):
        raise IntegrationError(ErrorCode.SAGA_STEPS_INVALID, f"saga {saga_name!r}: steps must be a non-empty list of SagaStep")
    if len(steps) > MAX_STEPS:
        raise IntegrationError(ErrorCode.TOO_MANY_STEPS, f"saga {saga_name!r} has {len(steps)} steps, the limit is {MAX_STEPS}")
    seen: set[str] = set()
    for step in steps:
        _check_step(step)
        if step.step_id in seen:
            raise IntegrationError(ErrorCode.STEP_ID_DUPLICATE, f"step id {step.step_id!r} is used twice")
        seen.add(step.step_id)
    lint.check_circles({saga_name: [step.saga for step in steps if step.saga]})
    lint.check_groups(steps)
    lint.check_signals(steps)
    lint.check_pivot(steps)


def _check_step(step: SagaStep) -> None:
    if not isinstance(step.step_id, str) or not _STEP_ID.fullmatch(step.step_id):
        raise IntegrationError(ErrorCode.STEP_ID_INVALID, f"step id {_show(step.step_id)} must match {_STEP_ID.pattern}")
    if not isinstance(step.step_name, str) or len(step.step_name) > MAX_STEP_NAME:
        raise IntegrationError(
            ErrorCode.STEP_ID_INVALID, f"step {step.step_id!r}: step_name must be text of at most {MAX_STEP_NAME} characters"
        )
    do = (step.action, step.endpoint, step.task, step.wait_for, step.saga)
    _check_direction(step, do, "action, endpoint, task, wait_for and saga", at_least=1)
    undo = (step.compensation, step.compensation_endpoint, step.compensation_task)
    _check_direction(step, undo, "compensation, compensation_endpoint and compensation_task", at_least=0)
    for endpoint in _given(step.endpoint, step.compensation_endpoint):
        if not isinstance(endpoint, str) or not _ENDPOINT.fullmatch(endpoint) or not step.service_name:
            raise _bad_action(step, f"endpoint {_show(endpoint)} needs a service_name and the form 'POST /path'")
    for task in _given(step.task, step.compensation_task):
        if not isinstance(task, str) or not _TASK.fullmatch(task) or not step.queue:
            raise _bad_action(step, f"task {_show(task)} needs a queue and a dotted task name")
    _check_wait_or_child(step)
    _check_limits(step)


def _given(*values: Any) -> list[Any]:
    return [value for value in values if value is not None]


def _check_wait_or_child(step: SagaStep) -> None:
    if step.wait_for is not None and not (isinstance(step.wait_for, str) and _WAIT.fullmatch(step.wait_for)):
        raise _bad_action(step, f"wait_for {_show(step.wait_for)} must be signal:name, event:topic or timer:seconds")
    if step.wait_for and step.wait_for.startswith("event:"):
        topics.check_topic(step.wait_for.removeprefix("event:"))
    if step.saga is not None and not (isinstance(step.saga, str) and _NAME.fullmatch(step.saga)):
        raise _bad_action(step, f"saga {_show(step.saga)} must be the name of a definition")
    alone = step.wait_for or step.saga
    if alone and step.has_compensation():
        raise _bad_action(step, "a wait has nothing to undo, and a child saga is undone as a whole: give no compensation")
    if alone and step.verify:
        raise _bad_action(step, "verify asks about a function, a request or a task")
    _check_function(step, step.verify)


def _check_direction(step: SagaStep, given: tuple[Any, ...], names: str, *, at_least: int) -> None:
    if not at_least <= sum(item is not None for item in given) <= 1:
        raise _bad_action(step, f"give {'exactly' if at_least else 'at most'} one of {names}")
    _check_function(step, given[0])


def _check_function(step: SagaStep, function: Any) -> None:
    if function is not None and not callable(function):
        raise _bad_action(step, f"{_show(function)} is not a function")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise _bad_action(step, f"{_show(function)} uses yield: nothing of it would run when it is called")


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

    if not isinstance(step.non_retryable, list | tuple) or not all(isinstance(item, str | int) for item in step.non_retryable):
        raise _bad_policy(step, "non_retryable", step.non_retryable, "a list of exception names and HTTP statuses")


def _check_number(value: Any, above: float, most: float, name: str, where: str, code: ErrorCode) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not above < value <= most:
        raise IntegrationError(code, f"{name} of {where!r} is {_show(value)}; it must be above {above:g} and at most {most:g} seconds")


def _bad_action(step: SagaStep, why: str) -> IntegrationError:
    return IntegrationError(ErrorCode.STEP_ACTION_INVALID, f"step {step.step_id!r}: {why}")


def _bad_policy(step: SagaStep, name: str, value: Any, allowed: str) -> IntegrationError:
    return IntegrationError(ErrorCode.RETRY_POLICY_INVALID, f"step {step.step_id!r}: {name} is {_show(value)}; it must be {allowed}")


def _show(value: Any) -> str:
    return ascii(value)[:80]
