"""What a failed delivery's message says about the failure."""

from __future__ import annotations

from celery import Celery
from celery.result import AsyncResult

from hub.errors import IntegrationError
from hub.events import dispatch, retries

UNKNOWN = "the subscriber's task failed; its error is not in the hub's result backend"


def failed(app: Celery, task_id: str, *, delivery_id: int, attempt: int) -> None:
    """Record a failed attempt with the error that the message left in the result backend."""
    error = error_of(app, task_id)
    dispatch.answer_failed(delivery_id, attempt, error=error, code=retries.code_in(error))


def error_of(app: Celery, task_id: str) -> str:
    """Return the error of a failed message as text; layers that keep no results leave none."""
    result = AsyncResult(task_id, app=app)
    found = result.result
    # The answer is here; the payload that may be in it need not lie in Redis for another hour.
    result.forget()
    if isinstance(found, IntegrationError):
        return str(found)
    return dispatch.describe(found) if isinstance(found, BaseException) else UNKNOWN
