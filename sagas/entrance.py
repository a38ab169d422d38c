"""What a new start must bring, by its definition's word, before anything is written. Runs in flight are not concerned."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings

from hub.errors import ErrorCode, IntegrationError
from sagas import accept, preflight
from sagas.definitions import SagaDefinition
from sagas.models import SagaExecution
from sagas.spec import SagaSpec
from sagas.states import ACTIVE

COUNT_EVERY_SEC = 1.0

_counted: tuple[float, int] = (float("-inf"), 0)


def admit(definition: SagaDefinition, spec: SagaSpec, *, context: Any, key: Any, found_by: Any, timeout_sec: float | None = None) -> None:
    """Refuse a start as `check` and `preflight` do, but for one that is asked for again: its run is there, and will be found.

    `key` is what the caller gave, `found_by` what the run is stored under: a message is its own key where none was given.
    """
    try:
        check(definition, context, key)
        if spec.preflight:
            preflight.check(spec, timeout_sec or spec.timeout_sec)
    except IntegrationError:
        if not isinstance(found_by, str) or not accept.is_known(spec, found_by):
            raise


def check(definition: SagaDefinition, context: Any, idempotency_key: Any) -> None:
    """Refuse a start: E11427 retired, E11901 no key where one is asked for, E11411 fields of the context, E11462 too many runs."""
    name = definition.saga_name
    if definition.retired:
        raise IntegrationError(ErrorCode.DEFINITION_RETIRED, f"saga {name!r} is retired: its runs end, new ones are not started")
    if definition.strict and idempotency_key is None:
        raise IntegrationError(ErrorCode.ARGUMENT_MISSING, f"saga {name!r} is strict: a start needs an idempotency_key")
    _check_input(definition, {} if context is None else context)
    if _active() >= settings.HUB.saga_max_active:
        raise IntegrationError(
            ErrorCode.TOO_MANY_EXECUTIONS, f"{settings.HUB.saga_max_active} sagas are under way, no more are started now"
        )


def _check_input(definition: SagaDefinition, context: Any) -> None:
    if not isinstance(context, dict):
        return  # refused with its own code when it is accepted
    for name, wanted in definition.input_types.items():
        value = context.get(name)
        is_number_for_bool = isinstance(value, bool) and wanted is not bool
        # JSON has one kind of number, and many a caller's library writes 5.0 as 5.
        accepted = (float, int) if wanted is float else wanted
        if not isinstance(value, accepted) or is_number_for_bool:
            found = "is missing" if name not in context else f"is {type(value).__name__}"
            raise IntegrationError(
                ErrorCode.SAGA_INPUT_INVALID,
                f"saga {definition.saga_name!r} needs {name!r} as {wanted.__name__} in its context; it {found}",
            )


def _active() -> int:
    """Return how many runs are under way, counted once a second by each process: the limit guards a disk, not a ticket."""
    global _counted
    if time.monotonic() - _counted[0] > COUNT_EVERY_SEC:
        _counted = (time.monotonic(), SagaExecution.objects.filter(status__in=[status.value for status in ACTIVE]).count())
    return _counted[1]
