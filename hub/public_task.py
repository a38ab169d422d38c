"""The base of every task that layers may send: wrong arguments are refused with a code instead of a `TypeError`."""

from __future__ import annotations

import inspect
from typing import Any

from celery import Task

from hub.errors import ErrorCode, IntegrationError


class PublicTask(Task):  # type: ignore[misc]  # Celery has no types
    """Check the arguments' names before the task runs: E11901 for a missing one, E11903 for an unknown one."""

    abstract = True
    throws = (IntegrationError,)
    """A refusal is an answer: it is logged in one line, without a traceback."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        parameters = inspect.signature(self.run).parameters
        unknown = [name for name in kwargs if name not in parameters]
        if unknown:
            known = ", ".join(parameters)
            raise IntegrationError(ErrorCode.ARGUMENT_UNKNOWN, f"{self.name} has no argument {ascii(unknown[0])[:80]} (it has: {known})")
        if len(args) > len(parameters):
            raise IntegrationError(ErrorCode.ARGUMENT_UNKNOWN, f"{self.name} takes {len(parameters)} arguments, got {len(args)}")
        given = {*list(parameters)[: len(args)], *kwargs}
        missing = [name for name, p in parameters.items() if p.default is p.empty and name not in given]
        if missing:
            raise IntegrationError(ErrorCode.ARGUMENT_MISSING, f"{self.name} needs the argument {missing[0]!r}")
        return super().__call__(*args, **kwargs)
