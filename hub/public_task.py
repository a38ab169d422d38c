"""The base of every task that layers may send: wrong arguments, and what is away, are refused with a code."""

from __future__ import annotations

import inspect
import logging
from typing import Any

from celery import Task

from hub.errors import ErrorCode, IntegrationError
from hub.outages import outage

log = logging.getLogger(__name__)


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
        try:
            return super().__call__(*args, **kwargs)
        except Exception as exc:
            away = outage(exc)
            if away is None:
                raise
            # The layer is told no address and no statement, so the log has to have them.
            log.warning("a task is refused: what it needs is away", exc_info=exc, extra={"code": str(away.code)})
            raise away from exc
