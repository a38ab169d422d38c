"""Celery's results in Redis, without the question that comes before each of them."""

from __future__ import annotations

from typing import Any

from celery import states
from celery.backends.redis import RedisBackend


class ResultBackend(RedisBackend):  # type: ignore[misc]  # Celery has no types
    """Celery's own, but for a success, which is written at once.

    Celery first asks whether the task has succeeded before, so that the failure of a lost copy does not hide the success of
    another. A success hides nothing, and the question costs a round trip for each answer of the hub.
    """

    def _store_result(self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **options: Any) -> Any:
        if state != states.SUCCESS:
            return super()._store_result(task_id, result, state, traceback=traceback, request=request, **options)
        meta = self._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        meta["task_id"] = task_id
        self._set_with_state(self.get_key_for_task(task_id), self.encode(meta), state)
        return result
